// The ids of a text that grows at its end, without encoding all of it again each time.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace nanochat {

class GrowingText {
 public:
  GrowingText(std::shared_ptr<const Tokenizer> tokenizer, const EncodeOptions& options);

  void append(std::string_view text);  // all or nothing

  // The ids of all text so far, as encode() gives them; valid until the next call.
  std::span<const TokenId> ids();
  // Of ids(): so many can never change. Always 0 unless the tokenizer cuts its text by one split rule and
  // nothing else that depends on what follows (Tokenizer::only_split_rules()).
  size_t n_final() const { return n_final_; }

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  EncodeOptions options_;
  const SplitRules* rules_;
  std::string text_;  // what n_final_ ids do not stand for
  std::vector<TokenId> ids_;
  size_t n_final_ = 0;
  bool is_current_ = false;  // ids_ are those of all the text
};

}  // namespace nanochat
