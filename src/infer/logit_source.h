// What a generation needs of a sequence: tokens go in, logits come out. Session is one; tests script their
// own.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/cancel.h"
#include "infer/sampler.h"
#include "model/config.h"
#include "model/decoder.h"
#include "tensor/device.h"

namespace nanochat {

class LogitSource {
 public:
  virtual ~LogitSource() = default;

  virtual const ModelConfig& config() const = 0;
  virtual Device* device() const { return nullptr; }  // that can help with logits
  virtual int64_t capacity() const = 0;
  virtual const std::vector<int32_t>& tokens() const = 0;
  virtual std::span<const float> last_logits() const = 0;        // after the last token; empty: not known
  virtual const TopLogits* last_top() const { return nullptr; }  // the best of them; nullptr: not known
  virtual uint64_t revision() const = 0;                         // changes whenever tokens() changes

  // Each leaves everything as it was if it throws.
  virtual void append(std::span<const int32_t> tokens, LogitRows which, float* logits,
                      const Watch& watch) = 0;
  // append() of LogitRows::none for one who samples next: afterwards last_top() may be known and
  // last_logits() not, if that is enough for `sampler`.
  virtual void append_for(const Sampler& /*sampler*/, std::span<const int32_t> tokens, const Watch& watch) {
    append(tokens, LogitRows::none, nullptr, watch);
  }
  virtual void truncate(int64_t length) = 0;
  virtual void restore_logits(const Watch& watch) = 0;  // makes last_logits() known; needs a token
};

}  // namespace nanochat
