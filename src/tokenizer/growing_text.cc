#include "tokenizer/growing_text.h"

#include <utility>

#include "tokenizer/split_scanner.h"

namespace nanochat {

GrowingText::GrowingText(std::shared_ptr<const Tokenizer> tokenizer, const EncodeOptions& options)
    : tokenizer_(std::move(tokenizer)), options_(options), rules_(tokenizer_->only_split_rules(options)) {
  if (!rules_ || options.add == AddSpecials::no) return;
  const std::span<const TokenId> before = tokenizer_->tokens_before();
  ids_.assign(before.begin(), before.end());
  n_final_ = ids_.size();
}

void GrowingText::append(std::string_view text) {
  text_ += text;
  is_current_ = false;
}

std::span<const TokenId> GrowingText::ids() {
  if (is_current_) return ids_;
  ids_.resize(n_final_);
  if (!rules_) {
    tokenizer_->encode(text_, options_, ids_);
  } else {
    EncodeOptions bare = options_;
    bare.add = AddSpecials::no;
    std::vector<TokenSpan> spans;
    tokenizer_->encode(text_, bare, ids_, &spans);
    // By themselves these pieces could be cut otherwise: what follows them shows where they end.
    const size_t end = final_pieces_end(*rules_, text_);
    for (size_t i = 0; i < spans.size() && spans[i].end <= end; ++i) ++n_final_;
    text_.erase(0, end);
    if (options_.add == AddSpecials::yes) {
      const std::span<const TokenId> after = tokenizer_->tokens_after();
      ids_.insert(ids_.end(), after.begin(), after.end());
    }
  }
  is_current_ = true;
  return ids_;
}

}  // namespace nanochat
