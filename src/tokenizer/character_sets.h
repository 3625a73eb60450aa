// What the normalizers and pre-tokenizers of tokenizer.json ask about a character, with the answers of the
// Hugging Face library for every code point.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace nanochat {

bool is_white_space(char32_t c);
bool is_punctuation(char32_t c);      // with the ASCII symbols
bool is_number(char32_t c);           // N
bool is_word_character(char32_t c);   // \w
bool is_nonspacing_mark(char32_t c);  // what BertNormalizer takes for an accent
bool is_combining_mark(char32_t c);   // what StripAccents takes for one
bool is_bert_control(char32_t c);     // Cc, Cf and Co, but not tab and line breaks
bool is_bert_ideograph(char32_t c);

void append_lower_case(std::string& out, char32_t c);

uint8_t combining_class(char32_t c);

enum class Decomposition : bool { canonical, compatible };
constexpr size_t kMaxDecomposed = 18;  // U+FDFA
// Writes the full decomposition, or `c` itself if it has none; gives how many.
size_t decompose(char32_t c, Decomposition kind, char32_t out[kMaxDecomposed]);
char32_t compose(char32_t first, char32_t second);  // 0: they do not compose
// Whether `c`, a starter, may compose with a character before it.
bool may_follow_in_composition(char32_t c);

}  // namespace nanochat
