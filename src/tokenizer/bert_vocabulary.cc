#include "tokenizer/bert_vocabulary.h"

#include <algorithm>
#include <string>
#include <unordered_map>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/utf8.h"
#include "tokenizer/json_node.h"
#include "tokenizer/tokenizer_document.h"

namespace nanochat {

namespace {

constexpr std::string_view kSpecials[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};

std::string_view take_line(std::string_view text, size_t& position) {
  const size_t end = std::min(text.find('\n', position), text.size());
  std::string_view line = text.substr(position, end - position);
  position = end + 1;
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

bool is_special(std::string_view text) {
  return std::find(std::begin(kSpecials), std::end(kSpecials), text) != std::end(kSpecials);
}

using Ids = std::unordered_map<std::string_view, int64_t>;

Ids read_lines(std::string_view text, std::string_view name, TokenizerDocument& document) {
  const auto refuse = [&](size_t line, std::string_view reason) {
    throw Error(Status::format_invalid).subject(name).say("{}: line {}: {}", name, line, reason);
  };
  Ids ids;
  int64_t id = 0;
  for (size_t position = 0; position < text.size(); ++id) {
    const std::string_view token = document.texts.keep(take_line(text, position));
    const auto line = static_cast<size_t>(id) + 1;
    if (token.empty()) refuse(line, "no token");
    if (!is_valid_utf8(token)) refuse(line, "not UTF-8");
    const auto [other, is_new] = ids.emplace(token, id);
    if (!is_new) {
      refuse(line, format_text("'{}' is the token of line {} already", excerpt(token), other->second + 1));
    }
    document.vocab.emplace_back(token, id);
  }
  document.has_vocab = true;
  for (const std::string_view needed : {"[UNK]", "[CLS]", "[SEP]"}) {
    if (!ids.contains(needed)) refuse(ids.size(), format_text("the file ends without the token {}", needed));
  }
  return ids;
}

bool has_capital(const TokenizerDocument& document) {
  return std::any_of(document.vocab.begin(), document.vocab.end(), [](const auto& token) {
    return !is_special(token.first) && !token.first.starts_with("[unused") &&
           std::any_of(token.first.begin(), token.first.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
  });
}

Json normalizer_json(const TokenizerDocument& document, const JsonNode& config) {
  Json normalizer = {{"type", "BertNormalizer"}, {"clean_text", true}};
  const bool reads = !config.is_null();
  const bool lower = reads ? config.boolean("do_lower_case", !has_capital(document)) : !has_capital(document);
  normalizer["handle_chinese_chars"] = reads ? config.boolean("tokenize_chinese_chars", true) : true;
  normalizer["strip_accents"] =
      reads && config.has("strip_accents") ? Json(config.boolean("strip_accents", true)) : Json(nullptr);
  normalizer["lowercase"] = lower;
  return normalizer;
}

Json added_json(const Ids& ids) {
  std::vector<std::pair<int64_t, std::string_view>> found;
  for (const std::string_view text : kSpecials) {
    if (const auto token = ids.find(text); token != ids.end()) found.emplace_back(token->second, text);
  }
  std::sort(found.begin(), found.end());
  Json list = Json::array();
  for (const auto& [id, text] : found) {
    list.push_back({{"id", id},
                    {"content", std::string(text)},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", false},
                    {"normalized", false},
                    {"special", true}});
  }
  return list;
}

Json named_id(const char* text, const Ids& ids) {
  Json pair = Json::array();
  pair.push_back(text);
  pair.push_back(ids.at(text));
  return pair;
}

}  // namespace

bool looks_like_bert_vocabulary(std::string_view text) {
  for (size_t position = 0; position < text.size();) {
    if (take_line(text, position) == "[UNK]") return true;
  }
  return false;
}

std::shared_ptr<const Tokenizer> parse_bert_vocabulary(std::string_view text, std::string_view name,
                                                       const Json& config) {
  TokenizerDocument document;
  const Ids ids = read_lines(text, name, document);
  Json rest = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  rest["added_tokens"] = added_json(ids);
  rest["normalizer"] = normalizer_json(document, JsonNode(config, name, "tokenizer_config.json"));
  rest["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  Json post = {{"type", "BertProcessing"}};
  post["sep"] = named_id("[SEP]", ids);
  post["cls"] = named_id("[CLS]", ids);
  rest["post_processor"] = std::move(post);
  rest["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  Json model = {{"type", "WordPiece"}, {"unk_token", "[UNK]"}, {"continuing_subword_prefix", "##"}};
  model["max_input_chars_per_word"] = 100;
  rest["model"] = std::move(model);
  *document.rest = std::move(rest);
  return make_tokenizer(document, name);
}

}  // namespace nanochat
