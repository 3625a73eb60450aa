// The loop behind Generation, over anything that turns tokens into logits.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "infer/generation.h"
#include "infer/logit_source.h"
#include "infer/text_stream.h"
#include "infer/tool_use.h"

namespace nanochat {

// Contract: see Generation.
class GenerationLoop {
 public:
  GenerationLoop(std::shared_ptr<LogitSource> source, std::shared_ptr<const Tokenizer> tokenizer,
                 std::vector<int32_t> prompt, GenerationOptions options);

  GenerationEvent next(const Watch& watch);
  GenerationUsage usage() const { return usage_; }

 private:
  GenerationEvent draw(const Watch& watch);
  void evaluate_pending(const Watch& watch);
  void make_room();
  int64_t newest_to_keep() const;
  bool is_end(int32_t token) const;
  Finish finish_without_text(int32_t token) const;
  int64_t n_tokens() const { return static_cast<int64_t>(source_->tokens().size() + pending_.size()); }

  std::shared_ptr<LogitSource> source_;
  GenerationOptions options_;
  Sampler sampler_;
  std::vector<int32_t> ends_;
  std::optional<TextStream> text_;  // none without a tokenizer
  std::optional<CalculatorTool> calculator_;

  std::vector<int32_t> pending_;  // follow the source's tokens, but are not evaluated yet
  int64_t first_position_ = 0;    // of the first generated token; sliding does not change it
  uint64_t revision_ = 0;         // of the source after our own last change
  GenerationEvent last_;          // without text; the last event once its finish is set
  GenerationUsage usage_;
};

}  // namespace nanochat
