#include "tokenizer/byte_bpe.h"

#include <algorithm>
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

void check_ids(const TokenList& tokens, std::string_view name) {
  TokenId largest = -1;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens.id(i) < 0 || tokens.id(i) > kMaxTokenId) {
      refuse(name, "token '{}': rank {}, possible are 0 to {}", to_alphabet(tokens.text(i)), tokens.id(i),
             kMaxTokenId);
    }
    if (tokens.text(i).empty()) refuse(name, "the token of rank {} is empty", tokens.id(i));
    largest = std::max(largest, tokens.id(i));
  }
  constexpr size_t kNone = SIZE_MAX;
  std::vector<size_t> of_id(static_cast<size_t>(largest) + 1, kNone);
  for (size_t i = 0; i < tokens.size(); ++i) {
    size_t& other = of_id[static_cast<size_t>(tokens.id(i))];
    if (other != kNone) {
      refuse(name, "rank {} has two tokens, '{}' and '{}'", tokens.id(i), to_alphabet(tokens.text(other)),
             to_alphabet(tokens.text(i)));
    }
    other = i;
  }
}

void check_texts(const Vocabulary& vocabulary, std::string_view name) {
  if (const TokenId repeated = vocabulary.repeated(); repeated >= 0) {
    const std::string_view text = vocabulary.text(repeated);
    refuse(name, "token '{}' has two ranks, {} and {}", to_alphabet(text), vocabulary.find(text), repeated);
  }
  for (unsigned byte = 0; byte < 256; ++byte) {
    const std::string text(1, static_cast<char>(byte));
    if (vocabulary.find(text) < 0) refuse(name, "no token for the single byte {}", byte);
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

std::shared_ptr<const Tokenizer> make_ranked_bpe(const TokenList& tokens, SplitPattern pattern,
                                                 const std::vector<SpecialToken>& specials,
                                                 std::string_view name) {
  check_ids(tokens, name);
  Vocabulary vocabulary(tokens);
  check_texts(vocabulary, name);
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

std::shared_ptr<const Tokenizer> make_ranked_bpe(const std::vector<Vocabulary::Entry>& tokens,
                                                 SplitPattern pattern,
                                                 const std::vector<SpecialToken>& specials,
                                                 std::string_view name) {
  TokenList list;
  for (const Vocabulary::Entry& token : tokens) list.add(token.id, token.text);
  return make_ranked_bpe(list, pattern, specials, name);
}

std::shared_ptr<const Tokenizer> make_byte_bpe(std::vector<std::string> token_bytes, SplitPattern pattern,
                                               std::vector<SpecialToken> specials) {
  if (token_bytes.size() > static_cast<size_t>(kMaxTokenId) + 1) {
    throw Error(Status::invalid_argument)
        .say("{} tokens, at most {} are possible", token_bytes.size(), kMaxTokenId + 1);
  }
  TokenList tokens;
  for (const std::string& bytes : token_bytes) tokens.add(static_cast<TokenId>(tokens.size()), bytes);
  return make_ranked_bpe(tokens, pattern, specials, "byte-level BPE");
}

}  // namespace nanochat
