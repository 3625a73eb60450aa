// NFC, NFD, NFKC and NFKD with the origin of each byte, as the Hugging Face library has both.
#pragma once

#include "tokenizer/normalized_text.h"

namespace nanochat {

enum class NormalForm : uint8_t { nfc, nfd, nfkc, nfkd };

// Reads all of the source. A byte that is not UTF-8 stays, and nothing moves across it.
void write_normal_form(NormalForm form, NormalizedText& text);

}  // namespace nanochat
