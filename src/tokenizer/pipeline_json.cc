#include "tokenizer/pipeline_json.h"

#include <utility>

#include "base/excerpt.h"

namespace nanochat {

namespace {

// A Split or Replace pattern is {"String": ...} or {"Regex": ...}.
bool is_regex(const JsonNode& pattern) { return pattern.has("Regex"); }

void add_normalizer(const JsonNode& node, std::vector<NormalizerStep>& steps) {
  const std::string type = node.type();
  if (type == "Sequence") {
    const JsonNode list = node.at("normalizers");
    for (size_t i = 0; i < list.array_size(); ++i) add_normalizer(list.item(i), steps);
  } else if (type == "Prepend") {
    steps.push_back({NormalizerStep::Kind::prepend, {}, node.at("prepend").text()});
  } else if (type == "Replace") {
    const JsonNode pattern = node.at("pattern");
    if (is_regex(pattern)) {
      pattern.unsupported("normalizer Replace with the regular expression '{}'",
                          excerpt(pattern.at("Regex").text()));
    }
    const std::string what = pattern.at("String").text();
    if (what.empty()) pattern.invalid("an empty text to look for");
    steps.push_back({NormalizerStep::Kind::replace, what, node.at("content").text()});
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
  step.find = PreTokenizerStep::Find::rules;
  step.rules = find_split_rules(regex);
  if (!step.rules) pattern.unsupported("Split with the regular expression '{}'", excerpt(regex, 400));
  if (is_byte_level) pattern.unsupported("Split with a word rule after ByteLevel");
  return step;
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
    node.unsupported("pre-tokenizer '{}'", excerpt(type));
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
