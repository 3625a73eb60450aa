// What goes into an encoder, checked and cut into passes.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "encoder/encoder_forward.h"
#include "encoder/encoder_pass.h"
#include "memory/memory.h"

namespace nanochat {

const TowerConfig& require_text_tower(const Encoder& encoder);  // throws unsupported

struct PassRange {
  size_t first, end;  // inputs
};

// Inputs in order, as many as make up kEncoderRows rows, one at least. n_rows[i]: of input i.
std::vector<PassRange> cut_into_passes(std::span<const int64_t> n_rows);

// The memory of passes, sized for the largest of them.
class PassMemory {
 public:
  PassMemory(const Encoder& encoder, const TowerConfig& tower) : encoder_(encoder), tower_(tower) {}

  void make_room(const TowerSizes& sizes) {
    n_bytes_ = std::max(n_bytes_, lay_out_tower(encoder_.config(), tower_, sizes, nullptr).n_bytes);
  }
  void allocate() {
    block_ = encoder_.device().memory().allocate(PoolKind::working, n_bytes_, "encoder pass");
  }
  TowerBuffers buffers(const TowerSizes& sizes) const {
    return lay_out_tower(encoder_.config(), tower_, sizes, block_.as());
  }

 private:
  const Encoder& encoder_;
  const TowerConfig& tower_;
  uint64_t n_bytes_ = 0;
  Block block_;
};

// A pass over texts whose layers have run. buffers.x has the states, before the final norm.
struct FinishedTexts {
  TowerPass& pass;
  std::span<const TextInput> texts;
  std::span<const InputRows> rows;  // of texts[i]
  const TowerBuffers& buffers;
  int64_t n_rows;
};

// Checks all texts, then runs them pass by pass and hands the states of each to `finish`, in order.
void run_texts(const Encoder& encoder, std::span<const TextInput> texts, int64_t n_global, const Watch& watch,
               const std::function<void(const FinishedTexts&)>& finish);

}  // namespace nanochat
