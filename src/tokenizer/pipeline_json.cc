#include "tokenizer/pipeline_json.h"

#include <utility>

#include "base/excerpt.h"
#include "base/utf8.h"

namespace nanochat {

namespace {

// A Split or Replace pattern is {"String": ...} or {"Regex": ...}.
bool is_regex(const JsonNode& pattern) { return pattern.has("Regex"); }

std::shared_ptr<const RegularExpression> read_regex(const JsonNode& node) {
  const std::string pattern = node.text();
  try {
    return std::make_shared<RegularExpression>(pattern);
  } catch (const Error& error) {
    if (error.status() == Status::format_unsupported) node.unsupported("{}", error.message());
    if (error.status() == Status::format_invalid) node.invalid("{}", error.message());
    throw;
  }
}

NormalizerStep read_replace(const JsonNode& node) {
  const JsonNode pattern = node.at("pattern");
  NormalizerStep step{NormalizerStep::Kind::replace};
  step.by = node.at("content").text();
  if (is_regex(pattern)) {
    step.kind = NormalizerStep::Kind::replace_all;
    step.pattern = read_regex(pattern.at("Regex"));
    return step;
  }
  step.what = pattern.at("String").text();
  if (step.what.empty()) pattern.invalid("an empty text to look for");
  return step;
}

NormalizerStep read_bert_normalizer(const JsonNode& node) {
  BertNormalizerOptions options;
  options.clean_text = node.boolean("clean_text", true);
  options.handle_chinese_chars = node.boolean("handle_chinese_chars", true);
  options.lowercase = node.boolean("lowercase", true);
  options.strip_accents = node.boolean("strip_accents", options.lowercase);
  NormalizerStep step{NormalizerStep::Kind::bert};
  step.bert = std::make_shared<BertNormalizer>(options);
  return step;
}

NormalizerStep read_precompiled(const JsonNode& node) {
  const std::string name = "precompiled_charsmap";
  NormalizerStep step{NormalizerStep::Kind::precompiled};
  const JsonNode map = node.at("precompiled_charsmap");
  const std::string text = map.text();
  try {
    step.charsmap = std::make_shared<Charsmap>(decode_base64(text, name), name);
  } catch (const Error& error) {
    if (error.status() == Status::format_invalid) map.invalid("{}", error.message());
    throw;
  }
  return step;
}

void add_normalizer(const JsonNode& node, std::vector<NormalizerStep>& steps) {
  using Kind = NormalizerStep::Kind;
  struct Simple {
    std::string_view name;
    Kind kind;
    NormalForm form = NormalForm::nfc;
  };
  static constexpr Simple kSimple[] = {
      {"NFC", Kind::normal_form, NormalForm::nfc},
      {"NFD", Kind::normal_form, NormalForm::nfd},
      {"NFKC", Kind::normal_form, NormalForm::nfkc},
      {"NFKD", Kind::normal_form, NormalForm::nfkd},
      {"Lowercase", Kind::lowercase},
      {"StripAccents", Kind::strip_accents},
      {"Nmt", Kind::nmt},
      {"ByteLevel", Kind::byte_level},
  };
  const std::string type = node.type();
  for (const Simple& simple : kSimple) {
    if (simple.name != type) continue;
    NormalizerStep step{simple.kind};
    step.form = simple.form;
    return steps.push_back(std::move(step));
  }
  if (type == "Sequence") {
    const JsonNode list = node.at("normalizers");
    for (size_t i = 0; i < list.array_size(); ++i) add_normalizer(list.item(i), steps);
  } else if (type == "Prepend") {
    NormalizerStep step{Kind::prepend};
    step.by = node.at("prepend").text();
    steps.push_back(std::move(step));
  } else if (type == "Strip") {
    NormalizerStep step{Kind::strip};
    step.strips_left = node.boolean("strip_left", true);
    step.strips_right = node.boolean("strip_right", true);
    steps.push_back(std::move(step));
  } else if (type == "Replace") {
    steps.push_back(read_replace(node));
  } else if (type == "BertNormalizer") {
    steps.push_back(read_bert_normalizer(node));
  } else if (type == "Precompiled") {
    steps.push_back(read_precompiled(node));
  } else {
    node.unsupported("normalizer '{}'", excerpt(type));
  }
}

PreTokenizerStep::Behavior read_behavior(const JsonNode& node) {
  using Behavior = PreTokenizerStep::Behavior;
  const std::string name = node.text("behavior", "Isolated");
  if (name == "Isolated") return Behavior::isolated;
  if (name == "Removed") return Behavior::removed;
  if (name == "Contiguous") return Behavior::contiguous;
  if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (name == "MergedWithNext") return Behavior::merged_with_next;
  node.invalid("behavior '{}'", excerpt(name));
}

std::string read_character(const JsonNode& node, const char* key) {
  const JsonNode found = node.at(key);
  const std::string text = found.text();
  if (text.empty() || decode_utf8(text, 0).length != text.size()) {
    found.invalid("expected one character, found '{}'", excerpt(text));
  }
  return text;
}

PreTokenizerStep read_split(const JsonNode& node, bool is_byte_level) {
  PreTokenizerStep step;
  const JsonNode pattern = node.at("pattern");
  step.behavior = read_behavior(node);
  step.inverted = node.boolean("invert", false);
  if (!is_regex(pattern)) {
    step.find = PreTokenizerStep::Find::literal;
    step.literal = pattern.at("String").text();
    if (step.literal.empty()) pattern.invalid("an empty text to split at");
    if (is_byte_level) pattern.unsupported("Split at a text after ByteLevel");
    return step;
  }
  const std::string regex = pattern.at("Regex").text();
  if (regex == "[0-9][0-9][0-9]") {
    step.find = PreTokenizerStep::Find::ascii_triple;
    return step;
  }
  if (is_byte_level) pattern.unsupported("Split with a regular expression after ByteLevel");
  step.find = PreTokenizerStep::Find::rules;
  step.rules = find_split_rules(regex);
  if (step.rules) return step;
  step.find = PreTokenizerStep::Find::pattern;
  step.pattern = read_regex(pattern.at("Regex"));
  return step;
}

PreTokenizerStep read_metaspace(const JsonNode& node) {
  using Prepend = PreTokenizerStep::Prepend;
  PreTokenizerStep step;
  step.space = read_character(node, "replacement");
  const std::string scheme = node.text("prepend_scheme", "always");
  step.prepend = scheme == "always" ? Prepend::always : scheme == "first" ? Prepend::first : Prepend::never;
  if (step.prepend == Prepend::never && scheme != "never")
    node.invalid("prepend_scheme '{}'", excerpt(scheme));
  if (!node.boolean("add_prefix_space", true)) step.prepend = Prepend::never;  // files before 2024
  if (node.boolean("split", true)) {
    step.find = PreTokenizerStep::Find::literal;
    step.literal = step.space;
    step.behavior = PreTokenizerStep::Behavior::merged_with_next;
  }
  return step;
}

// What finds one kind of thing and has at most one field.
bool read_simple_cut(const std::string& type, const JsonNode& node, PreTokenizerStep& step) {
  using Find = PreTokenizerStep::Find;
  using Behavior = PreTokenizerStep::Behavior;
  if (type == "BertPreTokenizer") {
    step.find = Find::words_and_marks;
  } else if (type == "Whitespace") {
    step.find = Find::words;
  } else if (type == "WhitespaceSplit") {
    step.find = Find::white_space;
    step.behavior = Behavior::removed;
  } else if (type == "CharDelimiterSplit") {
    step.find = Find::literal;
    step.literal = read_character(node, "delimiter");
    step.behavior = Behavior::removed;
  } else if (type == "FixedLength") {
    step.find = Find::length;
    step.length = node.has("length") ? static_cast<size_t>(node.at("length").integer(1, INT32_MAX)) : 5;
  } else {
    return false;
  }
  return true;
}

PreTokenizerStep read_byte_level(const JsonNode& node, bool is_byte_level) {
  if (is_byte_level) node.unsupported("ByteLevel after ByteLevel");
  PreTokenizerStep step;
  if (node.boolean("use_regex", true)) {
    step.find = PreTokenizerStep::Find::rules;
    step.rules = &split_rules(SplitPattern::gpt2);
  }
  step.space_before = node.boolean("add_prefix_space", true);
  step.to_byte_level = true;
  return step;
}

void add_pre_tokenizer(const JsonNode& node, std::vector<PreTokenizerStep>& steps) {
  const std::string type = node.type();
  const bool is_byte_level = PreTokenizer(steps).is_byte_level();
  if (type == "Sequence") {
    const JsonNode list = node.at("pretokenizers");
    for (size_t i = 0; i < list.array_size(); ++i) add_pre_tokenizer(list.item(i), steps);
  } else if (type == "ByteLevel") {
    const PreTokenizerStep step = read_byte_level(node, is_byte_level);
    if (step.find == PreTokenizerStep::Find::nothing && !step.space_before && !steps.empty()) {
      steps.back().to_byte_level = true;  // only the alphabet changes, which is no work here
    } else {
      steps.push_back(step);
    }
  } else if (type == "Split") {
    steps.push_back(read_split(node, is_byte_level));
  } else if (type == "Punctuation") {
    PreTokenizerStep step;
    step.find = PreTokenizerStep::Find::punctuation;
    step.behavior = read_behavior(node);
    steps.push_back(step);
  } else if (type == "Digits") {
    PreTokenizerStep step;
    step.find = PreTokenizerStep::Find::digits;
    step.behavior = node.boolean("individual_digits", false) ? PreTokenizerStep::Behavior::isolated
                                                             : PreTokenizerStep::Behavior::contiguous;
    steps.push_back(step);
  } else {
    PreTokenizerStep step;
    if (type == "Metaspace") {
      step = read_metaspace(node);
    } else if (!read_simple_cut(type, node, step)) {
      node.unsupported("pre-tokenizer '{}'", excerpt(type));
    }
    if (is_byte_level) node.unsupported("pre-tokenizer '{}' after ByteLevel", type);
    steps.push_back(std::move(step));
  }
}

TokenId read_id(const JsonNode& node) { return static_cast<TokenId>(node.integer(0, kMaxTokenId)); }

}  // namespace

std::vector<NormalizerStep> read_normalizer(const JsonNode& node) {
  std::vector<NormalizerStep> steps;
  if (!node.is_null()) add_normalizer(node, steps);
  return steps;
}

std::vector<PreTokenizerStep> read_pre_tokenizer(const JsonNode& node) {
  std::vector<PreTokenizerStep> steps;
  if (!node.is_null()) add_pre_tokenizer(node, steps);
  return steps;
}

std::vector<AddedToken> read_added_tokens(const JsonNode& node) {
  std::vector<AddedToken> tokens;
  if (node.is_null()) return tokens;
  for (size_t i = 0; i < node.array_size(); ++i) {
    const JsonNode item = node.item(i);
    AddedToken token;
    token.text = item.at("content").text();
    token.id = read_id(item.at("id"));
    token.special = item.boolean("special", false);
    token.normalized = item.boolean("normalized", !token.special);
    token.left_strip = item.boolean("lstrip", false);
    token.right_strip = item.boolean("rstrip", false);
    token.single_word = item.boolean("single_word", false);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace nanochat
