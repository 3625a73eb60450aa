#include "tokenizer/token_decoder.h"

#include <algorithm>

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

void strip_end(std::string& text, std::string_view what, int64_t count) {
  for (; count > 0 && text.ends_with(what); --count) text.resize(text.size() - what.size());
}

void clean_up(std::string& text) {
  constexpr std::pair<std::string_view, std::string_view> kRules[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  if (text.find(' ') == std::string::npos) return;
  for (const auto& [what, by] : kRules) text = replace_all(text, what, by);
}

// Any token but the first begins a word, unless it has the prefix.
void join_word_piece(std::string& text, std::string_view prefix) {
  if (text.starts_with(prefix)) {
    text.erase(0, prefix.size());
  } else {
    text.insert(0, 1, ' ');
  }
}

}  // namespace

bool TokenDecoder::has(DecoderStep::Kind kind) const {
  return std::any_of(steps_.begin(), steps_.end(),
                     [kind](const DecoderStep& step) { return step.kind == kind; });
}

std::string TokenDecoder::decode(std::string_view token_text, bool is_first, bool is_last) const {
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
      case DecoderStep::Kind::strip_each_end:
        strip_end(text, step.what, step.count);
        break;
      case DecoderStep::Kind::replace_token:
        if (text == step.what) return step.by;
        break;
      case DecoderStep::Kind::replace_first:
        if (is_first) text = replace_all(text, step.what, step.by);
        break;
      case DecoderStep::Kind::word_piece:
        if (!is_first) join_word_piece(text, step.what);
        break;
      case DecoderStep::Kind::clean_up:
        clean_up(text);
        break;
      case DecoderStep::Kind::space_for_suffix:
        text = replace_all(text, step.what, is_last ? "" : " ");
        break;
      case DecoderStep::Kind::drop_repeats:  // the caller's: one token does not show it
        break;
    }
  }
  return text;
}

}  // namespace nanochat
