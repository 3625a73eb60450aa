#include "tokenizer/decoder_json.h"

#include <string>

#include "base/excerpt.h"
#include "base/utf8.h"
#include "tokenizer/vocabulary.h"

namespace nanochat {

namespace {

using Kind = DecoderStep::Kind;

std::string read_searched(const JsonNode& node, const char* key, const char* purpose) {
  const std::string text = node.at(key).text();
  if (text.empty()) node.invalid("an empty text to {}", purpose);
  return text;
}

DecoderStep read_replace(const JsonNode& node) {
  const JsonNode pattern = node.at("pattern");
  if (pattern.has("Regex")) {
    pattern.unsupported("decoder Replace with the regular expression '{}'",
                        excerpt(pattern.at("Regex").text()));
  }
  return {Kind::replace, read_searched(pattern, "String", "look for"), node.at("content").text(), 0};
}

void add_strip(const JsonNode& node, bool fused, std::vector<DecoderStep>& steps) {
  const int64_t start = node.at("start").integer(0, 1 << 20), stop = node.at("stop").integer(0, 1 << 20);
  const std::string content = read_searched(node, "content", "strip");
  if (fused && stop > 0) node.unsupported("decoder Strip with stop {} after Fuse", stop);
  if (fused && start > 1) node.unsupported("decoder Strip with start {} after Fuse", start);
  steps.push_back({fused ? Kind::strip_first : Kind::strip_each, content, {}, start});
  if (stop > 0) steps.push_back({Kind::strip_each_end, content, {}, stop});
}

// The beginning of the text loses its spaces unless none were put there.
void add_metaspace(const JsonNode& node, std::vector<DecoderStep>& steps) {
  const std::string space = node.text("replacement", "\xe2\x96\x81");
  if (space.empty() || decode_utf8(space, 0).length != space.size()) {
    node.invalid("replacement '{}' is not one character", excerpt(space));
  }
  const std::string scheme = node.text("prepend_scheme", "always");
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    node.invalid("prepend_scheme '{}'", excerpt(scheme));
  }
  if (scheme != "never" && node.boolean("add_prefix_space", true)) {
    steps.push_back({Kind::replace_first, space, {}, 0});
  }
  steps.push_back({Kind::replace, space, " ", 0});
}

// Once the tokens are fused into one text, only its beginning can still be told apart token by token.
void add_decoder(const JsonNode& node, bool& fused, std::vector<DecoderStep>& steps) {
  const std::string type = node.type();
  if (type == "Sequence") {
    const JsonNode list = node.at("decoders");
    for (size_t i = 0; i < list.array_size(); ++i) add_decoder(list.item(i), fused, steps);
  } else if (type == "Fuse") {
    fused = true;
  } else if (type == "Strip") {
    add_strip(node, fused, steps);
  } else if (fused) {
    node.unsupported("decoder '{}' after Fuse", excerpt(type));
  } else if (type == "ByteLevel") {
    steps.push_back({Kind::byte_level, {}, {}, 0});
  } else if (type == "ByteFallback") {
    steps.push_back({Kind::byte_fallback, {}, {}, 0});
  } else if (type == "Replace") {
    steps.push_back(read_replace(node));
  } else if (type == "WordPiece") {
    steps.push_back({Kind::word_piece, node.text("prefix", "##"), {}, 0});
    if (node.boolean("cleanup", true)) steps.push_back({Kind::clean_up, {}, {}, 0});
  } else if (type == "Metaspace") {
    add_metaspace(node, steps);
  } else if (type == "BPEDecoder") {
    const std::string suffix = node.text("suffix", "</w>");
    if (!suffix.empty()) steps.push_back({Kind::space_for_suffix, suffix, {}, 0});
  } else if (type == "CTC") {
    steps.push_back({Kind::drop_repeats, {}, {}, 0});
    const std::string pad = node.text("pad_token", "<pad>");
    if (!pad.empty()) steps.push_back({Kind::replace, pad, {}, 0});
    if (!node.boolean("cleanup", true)) return;
    steps.push_back({Kind::clean_up, {}, {}, 0});
    const std::string delimiter = node.text("word_delimiter_token", "|");
    if (!delimiter.empty()) steps.push_back({Kind::replace, delimiter, " ", 0});
  } else {
    node.unsupported("decoder '{}'", excerpt(type));
  }
}

TokenId read_id(const JsonNode& node) { return static_cast<TokenId>(node.integer(0, kMaxTokenId)); }

// "single": a list of {"SpecialToken": {"id": name}} around one {"Sequence": {"id": "A"}}.
PostProcessorTokens read_template(const JsonNode& node) {
  PostProcessorTokens tokens;
  const JsonNode list = node.at("single");
  bool text_seen = false;
  for (size_t i = 0; i < list.array_size(); ++i) {
    const JsonNode item = list.item(i);
    if (item.has("Sequence")) {
      const std::string name = item.at("Sequence").at("id").text();
      if (name != "A" || text_seen)
        item.unsupported("sequence '{}' in the template of one text", excerpt(name));
      text_seen = true;
      continue;
    }
    const std::string name = item.at("SpecialToken").at("id").text();
    const JsonNode ids = node.at("special_tokens").at(name.c_str()).at("ids");
    for (size_t k = 0; k < ids.array_size(); ++k) {
      (text_seen ? tokens.suffix : tokens.prefix).push_back(read_id(ids.item(k)));
    }
  }
  if (!text_seen) list.unsupported("a template without the text");
  return tokens;
}

TokenId read_named_id(const JsonNode& pair) {  // ["</s>", 2]
  if (pair.array_size() != 2) pair.invalid("expected a text and an id");
  return read_id(pair.item(1));
}

}  // namespace

std::vector<DecoderStep> read_decoder(const JsonNode& node) {
  if (node.is_null()) return {{Kind::space_between, {}, {}, 0}};
  std::vector<DecoderStep> steps;
  bool fused = false;
  add_decoder(node, fused, steps);
  return steps;
}

PostProcessorTokens read_post_processor(const JsonNode& node) {
  if (node.is_null()) return {};
  const std::string type = node.type();
  if (type == "ByteLevel") return {};  // offsets only
  if (type == "TemplateProcessing") return read_template(node);
  if (type == "RobertaProcessing" || type == "BertProcessing") {
    return {{read_named_id(node.at("cls"))}, {read_named_id(node.at("sep"))}};
  }
  if (type != "Sequence") node.unsupported("post-processor '{}'", excerpt(type));
  PostProcessorTokens all;
  const JsonNode list = node.at("processors");
  for (size_t i = 0; i < list.array_size(); ++i) {
    const PostProcessorTokens outer = read_post_processor(list.item(i));
    all.prefix.insert(all.prefix.begin(), outer.prefix.begin(), outer.prefix.end());
    all.suffix.insert(all.suffix.end(), outer.suffix.begin(), outer.suffix.end());
  }
  return all;
}

SpanTrim read_span_trim(const JsonNode& post_processor) {
  if (post_processor.is_null()) return SpanTrim::none;
  const std::string type = post_processor.type();
  if (type == "Sequence") {
    const JsonNode list = post_processor.at("processors");
    SpanTrim found = SpanTrim::none;
    for (size_t i = 0; i < list.array_size(); ++i) {
      if (const SpanTrim inner = read_span_trim(list.item(i)); inner != SpanTrim::none) found = inner;
    }
    return found;
  }
  if (type != "ByteLevel" && type != "RobertaProcessing") return SpanTrim::none;
  if (!post_processor.boolean("trim_offsets", true)) return SpanTrim::none;
  return post_processor.boolean("add_prefix_space", true) ? SpanTrim::spaces_but_the_first : SpanTrim::spaces;
}

}  // namespace nanochat
