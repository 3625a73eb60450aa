#include "infer/embed_text.h"

#include <algorithm>
#include <string>

#include "tokenizer/batch_encoder.h"

namespace nanochat {

namespace {

constexpr std::string_view kPunctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

}  // namespace

std::vector<std::vector<int32_t>> tokens_of_texts(const Tokenizer& tokenizer,
                                                  std::span<const std::string_view> texts,
                                                  const TextTokens& options, ThreadPool& threads,
                                                  const CancelToken* cancel) {
  std::vector<std::string> prefixed;
  std::vector<std::string_view> views(texts.begin(), texts.end());
  if (!options.prefix.empty()) {
    prefixed.reserve(texts.size());
    for (std::string_view& text : views)
      text = prefixed.emplace_back(std::string(options.prefix).append(text));
  }
  BatchOptions batch;
  batch.encode.add = AddSpecials::yes;
  if (options.truncate) {
    batch.truncation = BatchOptions::Truncation::keep_start;
    batch.max_tokens = static_cast<size_t>(options.max_tokens);
  }
  std::vector<EncodedText> encoded = encode_batch(tokenizer, views, batch, threads, {cancel, {}});
  std::vector<std::vector<int32_t>> tokens;
  tokens.reserve(encoded.size());
  for (EncodedText& text : encoded) tokens.push_back(std::move(text.ids));
  return tokens;
}

int64_t most_text_tokens(const Encoder& encoder, const EncoderEmbedOptions& options) {
  return most_tokens(encoder, options) - (options.role == TextRole::none ? 0 : 1);
}

LateInteraction late_interaction(const Tokenizer* tokenizer) {
  LateInteraction late;
  if (tokenizer == nullptr) return late;
  if (const int32_t mask = tokenizer->special_id("[MASK]"); mask >= 0) late.mask_token = mask;
  for (const char& symbol : kPunctuation) {
    const std::vector<int32_t> ids = tokenizer->encode({&symbol, 1});
    if (!ids.empty()) late.skipped_tokens.push_back(ids.front());
  }
  std::sort(late.skipped_tokens.begin(), late.skipped_tokens.end());
  return late;
}

}  // namespace nanochat
