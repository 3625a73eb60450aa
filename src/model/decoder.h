// One forward pass for every generation of decoder, over rows of one or several sequences.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/cancel.h"
#include "model/kv_cache.h"
#include "tensor/kernels.h"

namespace nanochat {

enum class LogitRows : int32_t { none = 0, last = 1, all = 2 };

// What a pass gives for a wanted row: [vocab_size] logits after the softcap, or the [n_embd] state after the
// final norm that they are made of.
enum class PassOutput : int32_t { logits, states };

struct SequenceInput {
  KvCache* cache;                   // of the same model for all; its length is the position of tokens[0]
  std::span<const int32_t> tokens;  // not empty
  LogitRows logits = LogitRows::last;
};

// Called by tests with each activation, in device memory: "block_in", "attn_out", "mlp_out", "block_out" with
// the layer, and "final_norm" with layer -1.
using Trace =
    std::function<void(const char* name, int64_t layer, const float* rows, int64_t n_rows, int64_t width)>;

// Appends the tokens to their caches and writes the wanted rows of output (host memory, fp32) one after
// another, sequences in order. Long inputs run in chunks of kForwardRows rows; the
// bits do not depend on that, nor on the other sequences. Throws out_of_range (a token), context_full (naming
// position and capacity) before anything changes; cancelled between layers: then every cache keeps the length
// it had.
inline constexpr int64_t kForwardRows = 512;
void forward(const Model& model, std::span<const SequenceInput> sequences, float* output, const Watch& watch,
             const Trace& trace = {}, PassOutput what = PassOutput::logits);

// Where logits go of which the best will mostly do. Rows are the wanted ones, sequences in order.
struct TopOutput {
  std::span<const float> scales;               // of each row, see Kernels::select_top
  std::span<TopLogits> top;                    // of each row
  float* logits;                               // [rows, vocab_size], filled where needs_all
  std::function<bool(int64_t row)> needs_all;  // asked in order, when top[row] is there
};

// The same pass, for a device whose memory the host cannot read: vocab_size numbers a row stay there, and a
// few come back. A host has them all in output.logits and is not asked.
void forward_top(const Model& model, std::span<const SequenceInput> sequences, const TopOutput& output,
                 const Watch& watch);

}  // namespace nanochat
