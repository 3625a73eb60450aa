// The last step of a pipeline, on the way back: a token's text in the file to the bytes it stands for.
//
// Every decoder known works token by token, but for what happens at the beginning of the text. So a text can
// be decoded as a stream: each token needs to know only whether it is the first.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nanochat {

struct DecoderStep {
  enum class Kind : uint8_t {
    byte_level,     // GPT-2's alphabet to bytes; a token with another character in it stays as it is
    replace,        // every `what` by `by`
    byte_fallback,  // <0xNN> to the byte
    strip_first,    // up to `count` times `what` off the beginning of the whole text's first token
    strip_each,     // the same for every token
    space_between,  // a space before every token but the first: what the library does without a decoder
  };
  Kind kind;
  std::string what;
  std::string by;
  int64_t count = 0;
};

class TokenDecoder {
 public:
  TokenDecoder() = default;
  explicit TokenDecoder(std::vector<DecoderStep> steps) : steps_(std::move(steps)) {}
  std::string decode(std::string_view token_text, bool is_first) const;
  // Whether GPT-2's alphabet is all there is to it.
  bool is_byte_level() const { return steps_.size() == 1 && steps_[0].kind == DecoderStep::Kind::byte_level; }

 private:
  std::vector<DecoderStep> steps_;
};

}  // namespace nanochat
