#include "infer/text_stream.h"

#include <algorithm>
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

}  // namespace

TextStream::TextStream(std::shared_ptr<const Tokenizer> tokenizer, std::vector<std::string> stop_strings,
                       TextStart start)
    : tokens_(std::move(tokenizer), DecodedStream::Specials::skipped, DecodedStream::Form::replaced,
              start == TextStart::here ? DecodedStream::Start::here : DecodedStream::Start::earlier) {
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
  if (stopped_) return {};
  try {
    return release(tokens_.push({&token, 1}));
  } catch (const Error& error) {
    if (error.status() == Status::out_of_range) return {};
    throw;
  }
}

std::string TextStream::finish() {
  std::string text = release(tokens_.finish());
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
