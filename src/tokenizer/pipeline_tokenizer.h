// The one tokenizer: added tokens -> normalizer -> pre-tokenizer -> model -> post-processor, and the decoder
// back. Each part is a value made by the reader of a file (tokenizer_json.cc, tiktoken_file.cc) or by
// byte_bpe.cc.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/pipeline_normalizer.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/token_bytes.h"
#include "tokenizer/token_decoder.h"
#include "tokenizer/token_model.h"
#include "tokenizer/tokenizer.h"

namespace nanochat {

// What the file's post-processor takes off the spans: the spaces that a token begins and ends with. A single
// space at the very beginning may be the pre-tokenizer's own and stays then.
enum class SpanTrim : uint8_t { none, spaces, spaces_but_the_first };

struct TokenizerParts {
  PipelineNormalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::unique_ptr<const TokenModel> model;
  std::vector<AddedToken> added;
  std::vector<TokenId> prefix, suffix;  // the post-processor's tokens around a text
  SpanTrim span_trim = SpanTrim::none;
  TokenDecoder decoder;
  LengthRules lengths;
  bool decodes_added = true;       // false: added tokens stand for their own text whatever the decoder does
  std::string json_without_model;  // the file's other members, a JSON object that is not empty
};

class PipelineTokenizer final : public Tokenizer {
 public:
  explicit PipelineTokenizer(TokenizerParts parts);

  using Tokenizer::encode;
  void encode(std::string_view text, const EncodeOptions& options, std::vector<TokenId>& ids,
              std::vector<TokenSpan>* spans) const override;
  size_t count(std::string_view text, const EncodeOptions& options) const override;
  std::string decode(std::span<const TokenId> ids, bool skip_specials) const override;
  std::string token_bytes(TokenId id, bool is_first, bool skip_specials) const override;
  std::string last_token_bytes(TokenId id, bool is_first, bool skip_specials) const override;
  bool differs_at_end() const override { return parts_.decoder.differs_at_end(); }
  bool drops_repeats() const override { return parts_.decoder.drops_repeats(); }
  size_t encode_bound(size_t text_bytes) const override;
  int32_t vocab_size() const override { return bytes_.size(); }
  const std::vector<SpecialToken>& specials() const override { return specials_; }
  TokenId bos() const override { return bos_; }
  const LengthRules& lengths() const override { return parts_.lengths; }
  std::span<const TokenId> tokens_before() const override { return parts_.prefix; }
  std::span<const TokenId> tokens_after() const override { return parts_.suffix; }
  const SplitRules* only_split_rules(const EncodeOptions& options) const override;
  std::string to_json() const override;

 private:
  using Kind = TokenBytes::Kind;

  Kind kind(TokenId id) const;  // throws out_of_range
  void index_bytes(TokenId largest);
  std::string text(TokenId id) const;
  std::string first_bytes(TokenId id) const;
  std::string decode_in_context(std::span<const TokenId> ids, bool skip_specials) const;
  struct Output;
  void encode_segment(const TextPiece& segment, const EncodeOptions& options, const Output& output) const;
  void trim_spans(const Output& output, size_t first_id, size_t first_span) const;
  TokenId find_bos() const;
  std::vector<SpecialToken> added_with_ids_of_their_own() const;

  TokenizerParts parts_;
  AddedTokens added_;
  std::vector<SpecialToken> specials_;  // by id
  TokenBytes bytes_;                    // of every id when it is not first
  std::vector<std::pair<uint32_t, uint32_t>>
      space_counts_;  // at begin and end of each id; if spans are trimmed
  TokenId bos_ = -1;
};

}  // namespace nanochat
