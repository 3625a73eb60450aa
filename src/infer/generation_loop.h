// Generation over one sequence that is its own: anything that turns tokens into logits.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "infer/generation.h"
#include "infer/logit_source.h"
#include "infer/token_loop.h"

namespace nanochat {

// Contract: see Generation.
class GenerationLoop {
 public:
  GenerationLoop(std::shared_ptr<LogitSource> source, std::shared_ptr<const Tokenizer> tokenizer,
                 std::vector<int32_t> prompt, GenerationOptions options);

  GenerationEvent next(const Watch& watch);
  GenerationUsage usage() const;

 private:
  void evaluate_pending(const Watch& watch);
  bool knows_top() const;  // of the source's logits, as much as the next token needs

  std::shared_ptr<LogitSource> source_;
  TokenLoop loop_;
  uint64_t revision_ = 0;  // of the source after our own last change
  double prompt_seconds_ = 0.0, decode_seconds_ = 0.0;
};

}  // namespace nanochat
