#include "tokenizer/gguf_vocabulary.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/utf8.h"
#include "tokenizer/decoder_json.h"
#include "tokenizer/json_node.h"
#include "tokenizer/pipeline_json.h"
#include "tokenizer/tokenizer_document.h"
#include "tokenizer/vocabulary.h"

namespace nanochat {

namespace {

// Numbers of the format.
enum TokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

constexpr std::string_view kSpace = "\xe2\x96\x81";  // U+2581: SentencePiece's space

const Json kNull;

template <class... A>
[[noreturn]] void refuse(std::string_view pattern, const A&... arguments) {
  throw Error(Status::format_unsupported)
      .subject("tokenizer")
      .hint("export the model without a tokenizer")
      .say("the tokenizer cannot be written as GGUF: {}", format_text(pattern, arguments...));
}

bool is_byte_name(std::string_view text) {
  const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); };
  return text.size() == 6 && text.starts_with("<0x") && is_digit(text[3]) && is_digit(text[4]) &&
         text[5] == '>';
}

// A tokenizer.json taken apart, with every id in its place.
class Parts {
 public:
  Parts(const Tokenizer& tokenizer, const GgufVocabularyRequest& request)
      : document_(read_tokenizer_document(tokenizer.to_json(), "tokenizer")),
        model_(*document_.rest->find("model"), "tokenizer", "model"),
        normalizer_(read_normalizer(member("normalizer"))),
        pre_tokenizer_(read_pre_tokenizer(member("pre_tokenizer"))),
        post_(read_post_processor(member("post_processor"))) {
    if (tokenizer.vocab_size() > request.n_tokens) {
      throw Error(Status::invalid_argument)
          .subject("tokenizer")
          .say("the tokenizer has ids up to {}, the model's vocabulary has {} tokens",
               tokenizer.vocab_size() - 1, request.n_tokens);
    }
    if (const std::string type = model_.type(); type != "BPE") {
      refuse("its model is {}, a reader of this kind of file takes BPE", excerpt(type));
    }
    texts_.resize(static_cast<size_t>(request.n_tokens));
    types_.assign(texts_.size(), kUnused);
    for (const auto& [text, id] : document_.vocab) place(text, id, kNormal);
    const std::string unknown = model_.text("unk_token", "");
    for (const AddedToken& token : read_added_tokens(member("added_tokens"))) {
      place(token.text, token.id, token.special ? kControl : kUserDefined);
    }
    if (const auto found = ids_.find(unknown); !unknown.empty() && found != ids_.end()) {
      unknown_ = found->second;
      types_[static_cast<size_t>(unknown_)] = kUnknown;
    }
    name_unused();
    find_ends(tokenizer, request);
  }

  bool is_byte_level() const { return PreTokenizer(pre_tokenizer_).is_byte_level(); }
  std::vector<GgufEntry> sentence_piece();
  std::vector<GgufEntry> byte_level();

 private:
  JsonNode member(const char* key) const {
    const Json* found = document_.rest->find(key);
    return {found == nullptr ? kNull : *found, "tokenizer", key};
  }
  void place(std::string_view text, int64_t id, TokenType type) {
    texts_[static_cast<size_t>(id)] = text;
    types_[static_cast<size_t>(id)] = type;
    ids_.emplace(std::string(text), static_cast<TokenId>(id));
  }
  // Readers want every token to have a text of its own.
  void name_unused() {
    for (size_t i = 0; i < texts_.size(); ++i) {
      if (types_[i] != kUnused) continue;
      std::string name = format_text("[PAD{}]", i);
      while (!ids_.emplace(name, static_cast<TokenId>(i)).second) name += "_";
      texts_[i] = std::move(name);
    }
  }
  void find_ends(const Tokenizer& tokenizer, const GgufVocabularyRequest& request) {
    bos_ = request.bos >= 0 ? request.bos : tokenizer.bos();
    eos_ = request.eos;
    for (const char* name : {"</s>", "<|end_of_text|>", "<|endoftext|>", "<|eot_id|>", "<eos>"}) {
      if (eos_ < 0) eos_ = tokenizer.special_id(name);
    }
    if (eos_ < 0) eos_ = bos_;
    if (bos_ < 0) bos_ = eos_;
    if (bos_ < 0) {
      refuse(
          "neither it nor the model names a token that begins or ends a text, and a reader would take one");
    }
  }

  void require_plain_model() const;
  void check_merges_follow_tokens() const;
  bool adds_space() const;
  const char* split_name() const;
  std::vector<float> scores() const;
  std::vector<std::string> merge_texts() const;
  std::vector<GgufEntry> common(const char* model, const char* pre);

  TokenizerDocument document_;
  JsonNode model_;
  std::vector<NormalizerStep> normalizer_;
  std::vector<PreTokenizerStep> pre_tokenizer_;
  PostProcessorTokens post_;
  std::vector<std::string> texts_;  // of every id
  std::vector<int32_t> types_;
  std::unordered_map<std::string, TokenId> ids_;
  TokenId unknown_ = -1, bos_ = -1, eos_ = -1;
};

void Parts::require_plain_model() const {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (const std::string affix = model_.text(key, ""); !affix.empty()) {
      refuse("its {} is '{}', expected none", key, excerpt(affix));
    }
  }
  const bool begins = post_.prefix.empty() || post_.prefix == std::vector<TokenId>{bos_};
  const bool ends = post_.suffix.empty() || post_.suffix == std::vector<TokenId>{eos_};
  if (!begins || !ends) {
    refuse(
        "its post-processor adds {} tokens before and {} after a text, expected bos {} or none, and eos {} "
        "or none",
        post_.prefix.size(), post_.suffix.size(), bos_, eos_);
  }
}

// Whether the space before a text is added, if the spaces of a text become kSpace and nothing else happens.
bool Parts::adds_space() const {
  using Kind = NormalizerStep::Kind;
  const bool prepends =
      !normalizer_.empty() && normalizer_[0].kind == Kind::prepend && normalizer_[0].by == kSpace;
  const size_t rest = prepends ? 1 : 0;
  if (normalizer_.size() != rest + 1 || normalizer_[rest].kind != Kind::replace ||
      normalizer_[rest].what != " " || normalizer_[rest].by != kSpace) {
    refuse("its normalizer is not SentencePiece's ({} steps)", normalizer_.size());
  }
  return prepends;
}

std::string joined(std::string_view left, std::string_view right, const char* separator = "") {
  return std::string(left).append(separator).append(right);
}

// SentencePiece joins two neighbours whenever they make a token, the token of the best score first. Merges
// say the same if they list every such pair, and those of one token together.
void Parts::check_merges_follow_tokens() const {
  std::unordered_set<std::string> pairs, done;
  std::string current;
  for (const auto& [left, right] : document_.merges) {
    pairs.insert(joined(left, right, " "));
    std::string result = joined(left, right);
    if (result == current) continue;
    if (!done.insert(result).second) {
      refuse("the merges that make '{}' do not follow each other, so its token has no one score",
             excerpt(result));
    }
    current = std::move(result);
  }
  for (const auto& [text, id] : document_.vocab) {
    if (is_byte_name(text)) continue;
    for (size_t cut = 0; cut < text.size();) {
      cut += decode_utf8(text, cut).length;
      if (cut >= text.size()) break;
      const std::string left(text.substr(0, cut)), right(text.substr(cut));
      if (ids_.contains(left) && ids_.contains(right) && !pairs.contains(joined(left, right, " "))) {
        refuse("'{}' and '{}' make a token, but are no merge, and would be joined all the same",
               excerpt(left), excerpt(right));
      }
    }
  }
}

std::vector<float> Parts::scores() const {
  std::unordered_map<std::string, float> by_text;
  for (const auto& [left, right] : document_.merges) {
    by_text.emplace(joined(left, right), -static_cast<float>(by_text.size()));
  }
  const auto lowest = -static_cast<float>(by_text.size());
  std::vector<float> scores(texts_.size(), 0.0F);
  for (size_t i = 0; i < texts_.size(); ++i) {
    if (types_[i] != kNormal) continue;
    const auto found = by_text.find(texts_[i]);
    scores[i] = found == by_text.end() ? lowest : found->second;
  }
  return scores;
}

std::vector<GgufEntry> Parts::common(const char* model, const char* pre) {
  std::vector<GgufEntry> entries;
  entries.push_back({"tokenizer.ggml.model", std::string(model)});
  entries.push_back({"tokenizer.ggml.pre", std::string(pre)});
  entries.push_back({"tokenizer.ggml.tokens", std::move(texts_)});
  entries.push_back({"tokenizer.ggml.token_type", std::move(types_)});
  entries.push_back({"tokenizer.ggml.bos_token_id", static_cast<uint32_t>(bos_)});
  entries.push_back({"tokenizer.ggml.eos_token_id", static_cast<uint32_t>(eos_)});
  if (unknown_ >= 0) entries.push_back({"tokenizer.ggml.unknown_token_id", static_cast<uint32_t>(unknown_)});
  entries.push_back({"tokenizer.ggml.add_bos_token", !post_.prefix.empty()});
  entries.push_back({"tokenizer.ggml.add_eos_token", !post_.suffix.empty()});
  return entries;
}

std::vector<GgufEntry> Parts::sentence_piece() {
  require_plain_model();
  const bool space = adds_space();
  if (!pre_tokenizer_.empty()) refuse("it cuts the text before merging, which SentencePiece does not");
  if (!model_.boolean("byte_fallback", false)) refuse("its model has no byte_fallback");
  if (model_.boolean("ignore_merges", false)) refuse("its model has ignore_merges");
  size_t n_bytes = 0;
  for (size_t i = 0; i < texts_.size(); ++i) {
    if (types_[i] != kNormal || !is_byte_name(texts_[i])) continue;
    types_[i] = kByte;
    ++n_bytes;
  }
  if (n_bytes != 256) refuse("{} of the 256 byte tokens <0x00> to <0xFF> are there", n_bytes);
  check_merges_follow_tokens();
  std::vector<float> values = scores();
  std::vector<GgufEntry> entries = common("llama", "default");
  entries.push_back({"tokenizer.ggml.scores", std::move(values)});
  entries.push_back({"tokenizer.ggml.add_space_prefix", space});
  return entries;
}

// llama.cpp's name of the split rule.
const char* Parts::split_name() const {
  using Words = SplitRules::Words;
  const bool one_rule = pre_tokenizer_.size() == 1 &&
                        pre_tokenizer_[0].find == PreTokenizerStep::Find::rules &&
                        pre_tokenizer_[0].behavior == PreTokenizerStep::Behavior::isolated &&
                        !pre_tokenizer_[0].inverted && !pre_tokenizer_[0].space_before;
  if (!one_rule) refuse("its pre-tokenizer is more than one split rule");
  const SplitRules& rules = *pre_tokenizer_[0].rules;
  const bool whole_first = model_.boolean("ignore_merges", false);
  const bool is_llama3 = rules.words == Words::after_any && rules.max_digits == 3 && !rules.whole_final_space;
  if (is_llama3) return whole_first ? "llama-bpe" : "dbrx";
  if (whole_first)
    refuse("its model has ignore_merges, which llama.cpp has for the split rule of Llama 3 alone");
  if (rules.words == Words::by_case) return "gpt-4o";
  if (rules.words == Words::after_space) return "gpt-2";
  if (rules.max_digits == 1 && !rules.whole_final_space) return "qwen2";
  refuse("llama.cpp has no split rule of words after any character, with up to {} digits{}", rules.max_digits,
         rules.whole_final_space ? " and whole final spaces" : "");
}

std::vector<std::string> Parts::merge_texts() const {
  std::vector<std::string> texts;
  texts.reserve(document_.merges.size());
  for (const auto& [left, right] : document_.merges) texts.push_back(joined(left, right, " "));
  return texts;
}

std::vector<GgufEntry> Parts::byte_level() {
  require_plain_model();
  if (!normalizer_.empty()) refuse("its normalizer has {} steps, expected none", normalizer_.size());
  if (model_.boolean("byte_fallback", false)) refuse("its model has byte_fallback besides byte-level tokens");
  std::vector<GgufEntry> entries = common("gpt2", split_name());
  entries.push_back({"tokenizer.ggml.merges", merge_texts()});
  return entries;
}

}  // namespace

std::vector<GgufEntry> gguf_vocabulary(const Tokenizer& tokenizer, const GgufVocabularyRequest& request) {
  Parts parts(tokenizer, request);
  return parts.is_byte_level() ? parts.byte_level() : parts.sentence_piece();
}

std::vector<GgufEntry> gguf_no_vocabulary() {
  std::vector<GgufEntry> entries;
  entries.push_back({"tokenizer.ggml.model", std::string("no_vocab")});
  return entries;
}

}  // namespace nanochat
