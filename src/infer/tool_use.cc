#include "infer/tool_use.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "infer/calculator.h"

namespace nanochat {

namespace {

// No expression that the calculator accepts is longer: what a model writes past it is not kept.
constexpr size_t kMaxExpressionTokens = 4097;

TokenId required_special(const Tokenizer& tokenizer, std::string_view text) {
  const TokenId id = tokenizer.special_id(text);
  if (id < 0) {
    throw Error(Status::unsupported)
        .subject("tools")
        .say("the calculator needs the special token '{}', which the tokenizer does not have", text);
  }
  return id;
}

// A token that the tokenizer does not have (a padded model's) makes it no expression.
std::string text_of(const Tokenizer& tokenizer, const std::vector<TokenId>& tokens) {
  try {
    return tokenizer.decode(tokens, false);
  } catch (const Error& error) {
    if (error.status() == Status::out_of_range) return {};
    throw;
  }
}

}  // namespace

CalculatorTool::CalculatorTool(std::shared_ptr<const Tokenizer> tokenizer)
    : tokenizer_(std::move(tokenizer)),
      python_start_(required_special(*tokenizer_, "<|python_start|>")),
      python_end_(required_special(*tokenizer_, "<|python_end|>")),
      output_start_(required_special(*tokenizer_, "<|output_start|>")),
      output_end_(required_special(*tokenizer_, "<|output_end|>")) {}

void CalculatorTool::push(TokenId token) {
  if (token == python_start_) {  // inside a block it starts the block again
    in_python_ = true;
    expression_.clear();
  } else if (token == python_end_ && in_python_) {
    in_python_ = false;
    answer();
    expression_.clear();
  } else if (in_python_ && expression_.size() < kMaxExpressionTokens) {
    expression_.push_back(token);
  }
}

void CalculatorTool::answer() {
  if (expression_.empty() || expression_.size() == kMaxExpressionTokens) return;
  const std::optional<std::string> result = use_calculator(text_of(*tokenizer_, expression_));
  if (!result) return;
  std::vector<TokenId> output{output_start_};
  tokenizer_->encode(*result, EncodeOptions{}, output);
  output.push_back(output_end_);
  forced_.insert(forced_.end(), output.begin(), output.end());
}

TokenId CalculatorTool::take_forced() {
  if (forced_.empty()) throw_internal("a forced token was taken, but there is none");
  const TokenId token = forced_.front();
  forced_.pop_front();
  return token;
}

}  // namespace nanochat
