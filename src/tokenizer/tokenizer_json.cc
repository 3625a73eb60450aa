// tokenizer.json of Hugging Face, and the reference's own form, to a tokenizer.
#include <algorithm>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/excerpt.h"
#include "tokenizer/byte_bpe.h"
#include "tokenizer/decoder_json.h"
#include "tokenizer/length_rules.h"
#include "tokenizer/model_json.h"
#include "tokenizer/pipeline_json.h"
#include "tokenizer/pipeline_tokenizer.h"
#include "tokenizer/tokenizer_document.h"

namespace nanochat {

namespace {

const Json kNull;

// The member, or null if it is absent.
JsonNode member(const JsonNode& node, const char* key, std::string_view file) {
  return node.has(key) ? node.at(key) : JsonNode(kNull, file, key);
}

void check_added_tokens(const std::vector<AddedToken>& added, const TokenModel& model, const JsonNode& node) {
  std::unordered_set<TokenId> ids;
  std::unordered_set<std::string_view> texts;
  for (const AddedToken& token : added) {
    if (!ids.insert(token.id).second) node.invalid("id {} appears twice", token.id);
    if (!texts.insert(token.text).second) node.invalid("'{}' appears twice", excerpt(token.text));
    if (model.has(token.id) ? model.token_text(token.id) != token.text : model.find_text(token.text) >= 0) {
      node.invalid("'{}' has the id {}, which the vocabulary contradicts", excerpt(token.text), token.id);
    }
  }
}

void check_post_processor(const PostProcessorTokens& tokens, const TokenizerParts& parts,
                          const JsonNode& node) {
  std::unordered_set<TokenId> added;
  for (const AddedToken& token : parts.added) added.insert(token.id);
  for (const std::vector<TokenId>* list : {&tokens.prefix, &tokens.suffix}) {
    for (const TokenId id : *list) {
      if (!added.contains(id) && !parts.model->has(id)) node.invalid("no token has the id {}", id);
    }
  }
}

std::shared_ptr<const Tokenizer> read_hugging_face(const TokenizerDocument& document, const JsonNode& root,
                                                   std::string_view file) {
  TokenizerParts parts;
  parts.normalizer = PipelineNormalizer(read_normalizer(member(root, "normalizer", file)));
  parts.pre_tokenizer = PreTokenizer(read_pre_tokenizer(member(root, "pre_tokenizer", file)));
  parts.lengths = read_length_rules(member(root, "truncation", file), member(root, "padding", file));
  parts.decoder = TokenDecoder(read_decoder(member(root, "decoder", file)));
  parts.model = read_model(
      root.at("model"), document,
      parts.pre_tokenizer.is_byte_level() ? BpeOptions::Units::bytes : BpeOptions::Units::characters);
  const JsonNode added = member(root, "added_tokens", file);
  parts.added = read_added_tokens(added);
  check_added_tokens(parts.added, *parts.model, added);
  const JsonNode post = member(root, "post_processor", file);
  PostProcessorTokens tokens = read_post_processor(post);
  parts.span_trim = read_span_trim(post);
  check_post_processor(tokens, parts, post);
  parts.prefix = std::move(tokens.prefix);
  parts.suffix = std::move(tokens.suffix);

  Json rest = root.value();
  rest.erase("model");
  rest["version"] = "1.0";
  parts.json_without_model = write_json(rest);
  return std::make_shared<PipelineTokenizer>(std::move(parts));
}

SplitPattern read_pattern(const JsonNode& node) {
  const std::string text = node.text();
  for (const char* name : {"nanochat", "gpt2", "cl100k", "o200k", "llama3"}) {
    SplitPattern pattern;
    if (split_pattern_from_name(name, pattern) && split_pattern_text(pattern) == text) return pattern;
  }
  node.unsupported("the pattern '{}'", excerpt(text, 400));
}

// {"pattern", "merges": [[left id, right id], ...], "special_tokens": {text: id}}: the first 256 ids are the
// bytes, merge k makes id 256 + k.
std::shared_ptr<const Tokenizer> read_reference_form(const JsonNode& root, std::string_view file) {
  std::vector<Vocabulary::Entry> tokens;
  for (TokenId byte = 0; byte < 256; ++byte)
    tokens.push_back({byte, std::string(1, static_cast<char>(byte)), true});
  const JsonNode merges = root.at("merges");
  constexpr size_t kMaxVocabularyBytes = 1 << 27;  // merges may double lengths
  size_t n_bytes = 256;
  for (size_t i = 0; i < merges.array_size(); ++i) {
    const JsonNode pair = merges.item(i);
    if (pair.array_size() != 2) pair.invalid("expected two ids");
    const auto newest = static_cast<int64_t>(tokens.size()) - 1;
    const auto left = static_cast<size_t>(pair.item(0).integer(0, newest));
    const auto right = static_cast<size_t>(pair.item(1).integer(0, newest));
    std::string text = tokens[left].text + tokens[right].text;
    n_bytes += text.size();
    if (n_bytes > kMaxVocabularyBytes) pair.unsupported("more than {} bytes of tokens", kMaxVocabularyBytes);
    tokens.push_back({static_cast<TokenId>(tokens.size()), std::move(text), true});
  }
  std::vector<SpecialToken> specials;
  const JsonNode named = root.at("special_tokens");
  if (!named.value().is_object()) named.invalid("expected an object");
  for (const auto& [text, id] : named.value().items()) {
    specials.push_back({text, static_cast<TokenId>(JsonNode(id, file, text).integer(0, kMaxTokenId))});
  }
  return make_ranked_bpe(tokens, read_pattern(root.at("pattern")), specials, file);
}

}  // namespace

std::shared_ptr<const Tokenizer> parse_tokenizer_json(std::string_view text, std::string_view name) {
  return make_tokenizer(read_tokenizer_document(text, name), name);
}

std::shared_ptr<const Tokenizer> make_tokenizer(const TokenizerDocument& document, std::string_view name) {
  const JsonNode root(*document.rest, name, "");
  if (root.has("model")) return read_hugging_face(document, root, name);
  if (root.has("merges") && root.has("pattern")) return read_reference_form(root, name);
  root.invalid("neither 'model' nor 'merges' and 'pattern': no form of tokenizer that is known");
}

}  // namespace nanochat
