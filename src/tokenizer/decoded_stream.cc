#include "tokenizer/decoded_stream.h"

#include <algorithm>
#include <utility>

#include "base/utf8.h"

namespace nanochat {

DecodedStream::DecodedStream(std::shared_ptr<const Tokenizer> tokenizer, Specials specials, Form form,
                             Start start)
    : tokenizer_(std::move(tokenizer)), specials_(specials), form_(form) {
  state_.is_first = start == Start::here;
}

void DecodedStream::take(TokenId id, State& state) const {
  const bool skip = specials_ == Specials::skipped;
  std::string bytes = tokenizer_->token_bytes(id, state.is_first, skip);
  if (skip && bytes.empty() && tokenizer_->is_special(id)) return;
  if (tokenizer_->drops_repeats() && id == state.previous) return;
  state.bytes += std::exchange(state.rest, {});
  state.last_rest.clear();
  if (tokenizer_->differs_at_end()) {
    state.last_rest = tokenizer_->last_token_bytes(id, state.is_first, skip);
    const auto [end, last_end] =
        std::mismatch(bytes.begin(), bytes.end(), state.last_rest.begin(), state.last_rest.end());
    state.rest.assign(end, bytes.end());
    bytes.erase(end, bytes.end());
    state.last_rest.erase(state.last_rest.begin(), last_end);
  }
  state.bytes += bytes;
  state.previous = id;
  state.is_first = false;
}

std::string DecodedStream::release(State& state) const {
  if (form_ == Form::exact) return std::exchange(state.bytes, {});
  const size_t n_complete = complete_utf8_prefix(state.bytes);
  std::string text = replace_invalid_utf8(std::string_view(state.bytes).substr(0, n_complete));
  state.bytes.erase(0, n_complete);
  return text;
}

std::string DecodedStream::push(std::span<const TokenId> ids) {
  State state = state_;
  for (const TokenId id : ids) take(id, state);
  std::string text = release(state);
  state_ = std::move(state);
  return text;
}

std::string DecodedStream::finish() {
  const std::string bytes = std::exchange(state_.bytes, {}) + std::exchange(state_.last_rest, {});
  state_.rest.clear();
  return form_ == Form::exact ? bytes : replace_invalid_utf8(bytes);
}

}  // namespace nanochat
