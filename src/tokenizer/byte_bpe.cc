#include "tokenizer/byte_bpe.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"
#include "tokenizer/bpe_model.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/pipeline_tokenizer.h"

namespace nanochat {

namespace {

template <class... A>
[[noreturn]] void refuse(std::string_view name, std::string_view pattern, const A&... arguments) {
  throw Error(Status::format_invalid).subject(name).say("{}: {}", name, format_text(pattern, arguments...));
}

void check_tokens(const std::vector<Vocabulary::Entry>& tokens, std::string_view name) {
  std::unordered_map<std::string_view, TokenId> seen;
  std::unordered_map<TokenId, std::string_view> seen_ids;
  for (const Vocabulary::Entry& token : tokens) {
    if (token.id < 0 || token.id > kMaxTokenId) {
      refuse(name, "token '{}': rank {}, possible are 0 to {}", to_alphabet(token.text), token.id,
             kMaxTokenId);
    }
    if (token.text.empty()) refuse(name, "the token of rank {} is empty", token.id);
    const auto [text, text_is_new] = seen.emplace(token.text, token.id);
    if (!text_is_new) {
      refuse(name, "token '{}' has two ranks, {} and {}", to_alphabet(token.text), text->second, token.id);
    }
    const auto [id, id_is_new] = seen_ids.emplace(token.id, token.text);
    if (!id_is_new) {
      refuse(name, "rank {} has two tokens, '{}' and '{}'", token.id, to_alphabet(id->second),
             to_alphabet(token.text));
    }
  }
  for (unsigned byte = 0; byte < 256; ++byte) {
    const std::string text(1, static_cast<char>(byte));
    if (!seen.contains(text)) refuse(name, "no token for the single byte {}", byte);
  }
}

void check_specials(const std::vector<SpecialToken>& specials, const Vocabulary& vocabulary,
                    std::string_view name) {
  std::unordered_set<TokenId> ids;
  std::unordered_set<std::string_view> texts;
  for (const SpecialToken& special : specials) {
    if (special.text.empty()) refuse(name, "the special token of id {} is empty", special.id);
    if (!is_valid_utf8(special.text)) refuse(name, "the special token of id {} is not UTF-8", special.id);
    if (special.id < 0 || special.id > kMaxTokenId) {
      refuse(name, "special token '{}': id {}, possible are 0 to {}", special.text, special.id, kMaxTokenId);
    }
    if (vocabulary.has(special.id)) {
      refuse(name, "special token '{}': id {} is that of token '{}'", special.text, special.id,
             to_alphabet(vocabulary.text(special.id)));
    }
    if (!ids.insert(special.id).second || !texts.insert(special.text).second) {
      refuse(name, "special token '{}', id {}: the text or the id appears twice", special.text, special.id);
    }
  }
}

std::string pipeline_json(SplitPattern pattern, const std::vector<SpecialToken>& specials) {
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  Json split = {{"type", "Split"}, {"pattern", {{"Regex", json_pattern_text(pattern)}}}};
  split["behavior"] = "Isolated";
  split["invert"] = false;
  Json document = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  document["added_tokens"] = Json::array();
  for (const SpecialToken& special : specials) {
    document["added_tokens"].push_back({{"id", special.id},
                                        {"content", special.text},
                                        {"single_word", false},
                                        {"lstrip", false},
                                        {"rstrip", false},
                                        {"normalized", false},
                                        {"special", true}});
  }
  document["normalizer"] = nullptr;
  document["pre_tokenizer"] = {{"type", "Sequence"}};
  document["pre_tokenizer"]["pretokenizers"] = Json::array({split, byte_level});
  document["post_processor"] = nullptr;
  document["decoder"] = byte_level;
  return write_json(document);
}

}  // namespace

std::shared_ptr<const Tokenizer> make_ranked_bpe(const std::vector<Vocabulary::Entry>& tokens,
                                                 SplitPattern pattern,
                                                 const std::vector<SpecialToken>& specials,
                                                 std::string_view name) {
  check_tokens(tokens, name);
  Vocabulary vocabulary(tokens);
  check_specials(specials, vocabulary, name);

  TokenizerParts parts;
  std::vector<SpecialToken> sorted = specials;
  std::sort(sorted.begin(), sorted.end(),
            [](const SpecialToken& a, const SpecialToken& b) { return a.id < b.id; });
  for (const SpecialToken& special : sorted) {
    AddedToken token;
    token.text = special.text;
    token.id = special.id;
    token.special = true;
    parts.added.push_back(std::move(token));
  }
  parts.decodes_added = false;
  PreTokenizerStep split;
  split.find = PreTokenizerStep::Find::rules;
  split.rules = &split_rules(pattern);
  split.to_byte_level = true;
  parts.pre_tokenizer = PreTokenizer({split});
  parts.decoder = TokenDecoder({{DecoderStep::Kind::byte_level, {}, {}, 0}});
  parts.json_without_model = pipeline_json(pattern, sorted);
  parts.model = std::make_unique<BpeModel>(std::move(vocabulary));
  return std::make_shared<PipelineTokenizer>(std::move(parts));
}

std::shared_ptr<const Tokenizer> make_byte_bpe(std::vector<std::string> token_bytes, SplitPattern pattern,
                                               std::vector<SpecialToken> specials) {
  if (token_bytes.size() > static_cast<size_t>(kMaxTokenId) + 1) {
    throw Error(Status::invalid_argument)
        .say("{} tokens, at most {} are possible", token_bytes.size(), kMaxTokenId + 1);
  }
  std::vector<Vocabulary::Entry> tokens;
  tokens.reserve(token_bytes.size());
  for (std::string& bytes : token_bytes) {
    tokens.push_back({static_cast<TokenId>(tokens.size()), std::move(bytes), true});
  }
  return make_ranked_bpe(tokens, pattern, specials, "byte-level BPE");
}

}  // namespace nanochat
