#include "infer/text_stream.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"

namespace nanochat {

namespace {

bool ends_with_at(std::string_view text, size_t end, std::string_view stop) {
  return end >= stop.size() && text.compare(end - stop.size(), stop.size(), stop) == 0;
}

// Start of the first stop string to be complete in text[.., end] with end > from; npos if there is none.
size_t find_stop(std::string_view text, size_t from, const std::vector<std::string>& stop_strings) {
  for (size_t end = from + 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stop_strings) {
      if (ends_with_at(text, end, stop)) longest = std::max(longest, stop.size());
    }
    if (longest > 0) return end - longest;
  }
  return std::string_view::npos;
}

// Length of the longest suffix of text that is a proper beginning of a stop string.
size_t beginning_length(std::string_view text, const std::vector<std::string>& stop_strings) {
  size_t longest = 0;
  for (const std::string& stop : stop_strings) {
    for (size_t n = std::min(text.size(), stop.size() - 1); n > longest; --n) {
      if (ends_with_at(text, text.size(), std::string_view(stop).substr(0, n))) longest = n;
    }
  }
  return longest;
}

std::optional<std::string> bytes_of(const Tokenizer& tokenizer, TokenId token, bool is_first) {
  try {
    return tokenizer.token_bytes(token, is_first, true);
  } catch (const Error& error) {
    if (error.status() == Status::out_of_range) return std::nullopt;
    throw;
  }
}

}  // namespace

TextStream::TextStream(std::shared_ptr<const Tokenizer> tokenizer, std::vector<std::string> stop_strings,
                       TextStart start)
    : tokenizer_(std::move(tokenizer)), is_first_(start == TextStart::here) {
  for (size_t i = 0; i < stop_strings.size(); ++i) {
    if (stop_strings[i].empty()) {
      throw Error(Status::invalid_argument).subject("stop_strings").say("stop string {} is empty", i);
    }
    const size_t bad = first_invalid_utf8(stop_strings[i]);
    if (bad != stop_strings[i].size()) {
      throw Error(Status::invalid_argument)
          .subject("stop_strings")
          .say("stop string {}: invalid UTF-8 at byte {}", i, bad);
    }
  }
  stop_strings_ = std::make_shared<const std::vector<std::string>>(std::move(stop_strings));
}

std::string TextStream::push(TokenId token) {
  if (stopped_ || tokenizer_->is_special(token)) return {};
  const std::optional<std::string> token_bytes = bytes_of(*tokenizer_, token, is_first_);
  if (!token_bytes) return {};
  bytes_ += *token_bytes;
  is_first_ = false;
  const size_t n_complete = complete_utf8_prefix(bytes_);
  const std::string text = replace_invalid_utf8(std::string_view(bytes_).substr(0, n_complete));
  bytes_.erase(0, n_complete);
  return release(text);
}

std::string TextStream::finish() {
  std::string text = release(replace_invalid_utf8(std::exchange(bytes_, {})));
  text += std::exchange(held_, {});
  return text;
}

// Stop strings and held_ are valid UTF-8, so that every cut below falls between characters.
std::string TextStream::release(std::string_view new_text) {
  const size_t n_scanned = held_.size();
  held_ += new_text;
  const size_t stop = find_stop(held_, n_scanned, *stop_strings_);
  stopped_ = stop != std::string_view::npos;
  const size_t n_certain = stopped_ ? stop : held_.size() - beginning_length(held_, *stop_strings_);
  std::string certain = held_.substr(0, n_certain);
  held_.erase(0, stopped_ ? held_.size() : n_certain);
  return certain;
}

}  // namespace nanochat
