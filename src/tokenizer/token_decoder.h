// The last step of a pipeline, on the way back: a token's text in the file to the bytes it stands for.
//
// Every decoder known works token by token, but for what happens at the ends of the text. So a text can be
// decoded as a stream: each token needs to know only whether it is the first, and with two rare decoders
// whether it is the last, or the same as the one before it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nanochat {

struct DecoderStep {
  enum class Kind : uint8_t {
    byte_level,        // GPT-2's alphabet to bytes; a token with another character in it stays as it is
    replace,           // every `what` by `by`
    byte_fallback,     // <0xNN> to the byte
    strip_first,       // up to `count` times `what` off the beginning of the whole text's first token
    strip_each,        // the same for every token
    space_between,     // a space before every token but the first: what the library does without a decoder
    strip_each_end,    // up to `count` times `what` off the end of every token
    replace_token,     // a token that is `what` by `by`, to which no other step is applied
    replace_first,     // every `what` by `by`, in the whole text's first token
    word_piece,        // not the first token: `what` off its beginning, or a space before it
    clean_up,          // no space before punctuation and English contractions, as the library has it
    space_for_suffix,  // every `what` becomes a space, in the last token of the text nothing
    drop_repeats,      // a token that is the same as the one before it gives nothing
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
  // Whether GPT-2's alphabet is all there is to it.
  bool is_byte_level() const { return steps_.size() == 1 && steps_[0].kind == DecoderStep::Kind::byte_level; }
  std::string decode(std::string_view token_text, bool is_first) const {
    return decode(token_text, is_first, false);
  }
  std::string decode_last(std::string_view token_text, bool is_first) const {
    return decode(token_text, is_first, true);
  }
  bool differs_at_end() const { return has(DecoderStep::Kind::space_for_suffix); }
  bool drops_repeats() const { return has(DecoderStep::Kind::drop_repeats); }

 private:
  std::string decode(std::string_view token_text, bool is_first, bool is_last) const;
  bool has(DecoderStep::Kind kind) const;

  std::vector<DecoderStep> steps_;
};

}  // namespace nanochat
