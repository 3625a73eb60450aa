#include "tokenizer/token_decoder.h"

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/pipeline_normalizer.h"

namespace nanochat {

namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// The byte of "<0xNN>"; -1: another text.
int fallback_byte(std::string_view text) {
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return -1;
  const int high = hex_digit(text[3]), low = hex_digit(text[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

void strip(std::string& text, std::string_view what, int64_t count) {
  for (; count > 0 && std::string_view(text).substr(0, what.size()) == what; --count)
    text.erase(0, what.size());
}

}  // namespace

std::string TokenDecoder::decode(std::string_view token_text, bool is_first) const {
  std::string text(token_text);
  for (const DecoderStep& step : steps_) {
    switch (step.kind) {
      case DecoderStep::Kind::byte_level: {
        std::string bytes;
        if (from_alphabet(text, bytes)) text = std::move(bytes);
        break;
      }
      case DecoderStep::Kind::replace:
        text = replace_all(text, step.what, step.by);
        break;
      case DecoderStep::Kind::byte_fallback: {
        const int byte = fallback_byte(text);
        if (byte >= 0) text.assign(1, static_cast<char>(byte));
        break;
      }
      case DecoderStep::Kind::strip_first:
        if (is_first) strip(text, step.what, step.count);
        break;
      case DecoderStep::Kind::strip_each:
        strip(text, step.what, step.count);
        break;
      case DecoderStep::Kind::space_between:
        if (!is_first) text.insert(0, 1, ' ');
        break;
    }
  }
  return text;
}

}  // namespace nanochat
