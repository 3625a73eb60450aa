// The calculator between <|python_start|> and <|python_end|>, as nanochat's engine answers it.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace nanochat {

// Watches the tokens of one sequence. When a block of code ends and the calculator has a result, the tokens
// <|output_start|> result <|output_end|> are to follow, whatever the model would say; without one, nothing
// is.
//
// A value: copy it, change the copy and keep the copy to have all or nothing.
class CalculatorTool {
 public:
  // Throws unsupported naming the special token that the tokenizer lacks.
  explicit CalculatorTool(std::shared_ptr<const Tokenizer> tokenizer);

  // Every token of the sequence in order, sampled or forced.
  void push(TokenId token);

  bool has_forced() const { return !forced_.empty(); }
  TokenId take_forced();  // the next token of the sequence; has_forced() must be true

 private:
  void answer();

  std::shared_ptr<const Tokenizer> tokenizer_;
  TokenId python_start_, python_end_, output_start_, output_end_;
  bool in_python_ = false;
  std::vector<TokenId> expression_;
  std::deque<TokenId> forced_;
};

}  // namespace nanochat
