#include "tokenizer/length_rules.h"

#include <string>

#include "base/excerpt.h"
#include "tokenizer/json_node.h"
#include "tokenizer/vocabulary.h"

namespace nanochat {

namespace {

constexpr int64_t kMaxLength = int64_t{1} << 40;
constexpr auto kMaxPadding = static_cast<int64_t>(PaddingRule::kMost);

bool is_left(const JsonNode& node) {
  const std::string direction = node.text("direction", "Right");
  if (direction != "Left" && direction != "Right") node.invalid("direction '{}'", excerpt(direction));
  return direction == "Left";
}

size_t read_length(const JsonNode& node, const char* key, int64_t largest) {
  return node.has(key) ? static_cast<size_t>(node.at(key).integer(0, largest)) : 0;
}

// The strategy is about pairs of texts, the stride about what was cut off: neither changes one text's tokens.
TruncationRule read_truncation(const JsonNode& node) {
  TruncationRule rule;
  if (node.is_null()) return rule;
  rule.is_set = true;
  rule.max_tokens = static_cast<size_t>(node.at("max_length").integer(0, kMaxLength));
  rule.keep = is_left(node) ? TruncationRule::Keep::end : TruncationRule::Keep::start;
  const std::string strategy = node.text("strategy", "LongestFirst");
  if (strategy != "LongestFirst" && strategy != "OnlyFirst" && strategy != "OnlySecond") {
    node.invalid("strategy '{}'", excerpt(strategy));
  }
  if (strategy == "OnlySecond") node.unsupported("strategy '{}' with one text", strategy);
  const size_t stride = read_length(node, "stride", kMaxLength);
  if (stride > 0 && stride >= rule.max_tokens) {
    node.invalid("stride {} with max_length {}", stride, rule.max_tokens);
  }
  return rule;
}

PaddingRule read_padding(const JsonNode& node) {
  PaddingRule rule;
  if (node.is_null()) return rule;
  rule.to = PaddingRule::To::longest;
  if (node.has("strategy")) {
    const JsonNode strategy = node.at("strategy");
    if (strategy.value().is_object()) {
      rule.to = PaddingRule::To::fixed;
      rule.length = static_cast<size_t>(strategy.at("Fixed").integer(0, kMaxPadding));
    } else if (strategy.text() != "BatchLongest") {
      strategy.invalid("'{}'", excerpt(strategy.text()));
    }
  }
  rule.at_start = is_left(node);
  rule.multiple_of = read_length(node, "pad_to_multiple_of", kMaxPadding);
  if (node.has("pad_id")) rule.id = static_cast<TokenId>(node.at("pad_id").integer(0, kMaxTokenId));
  return rule;
}

}  // namespace

LengthRules read_length_rules(const JsonNode& truncation, const JsonNode& padding) {
  return {read_truncation(truncation), read_padding(padding)};
}

}  // namespace nanochat
