// Any bytes as charsmap, as regular expression and as text: refused, or a rewriting whose origins lie inside
// the text and which is the same with and without them.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/utf8.h"
#include "fuzz_property.h"
#include "tokenizer/pipeline_normalizer.h"
#include "tokenizer/pre_tokenizer.h"

using namespace nanochat;

namespace {

using Kind = NormalizerStep::Kind;

void rewrite(std::vector<NormalizerStep> steps, std::string_view text) {
  const PipelineNormalizer normalizer(std::move(steps));
  NormalizedText result;
  const TextPiece piece = normalizer.apply(TextPiece{text}, Trace::on, result);
  require_property(normalizer.apply(text) == piece.text);
  require_property(piece.text.size() <= normalizer.size_bound(text.size(), 1));
  for (size_t at = 0; at < piece.text.size(); ++at) {
    const TokenSpan span = widen_to_characters(text, piece.origin(at, at + 1));
    require_property(span.begin <= span.end && span.end <= text.size());
  }
  if (is_valid_utf8(text)) require_property(is_valid_utf8(piece.text));
}

void normalize(std::string_view text) {
  for (const NormalForm form : {NormalForm::nfc, NormalForm::nfd, NormalForm::nfkc, NormalForm::nfkd}) {
    NormalizerStep step{Kind::normal_form};
    step.form = form;
    rewrite({step}, text);
    const PipelineNormalizer normalizer({step});
    const std::string once = normalizer.apply(text);
    require_property(normalizer.apply(once) == once);
  }
  NormalizerStep bert{Kind::bert};
  bert.bert = std::make_shared<BertNormalizer>(BertNormalizerOptions{});
  NormalizerStep strip{Kind::strip};
  strip.strips_left = strip.strips_right = true;
  rewrite({bert, strip}, text);
  rewrite({{Kind::nmt}, {Kind::lowercase}, {Kind::strip_accents}, {Kind::byte_level}}, text);
}

void charsmap(std::string_view blob, std::string_view text) {
  NormalizerStep step{Kind::precompiled};
  step.charsmap = std::make_shared<Charsmap>(blob, "fuzz");
  rewrite({step}, text);
}

void regex(std::string_view pattern, std::string_view text) {
  const auto expression = std::make_shared<RegularExpression>(pattern);
  NormalizerStep replace{Kind::replace_all};
  replace.pattern = expression;
  replace.by = "<>";
  rewrite({replace}, text);
  PreTokenizerStep split;
  split.find = PreTokenizerStep::Find::pattern;
  split.pattern = expression;
  std::string joined;
  PreTokenizer({split}).split(TextPiece{text}, Trace::off,
                              [&](const TextPiece& piece) { joined += piece.text; });
  require_property(joined == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const size_t cut = all.find('\n');  // a pattern or a table, a line feed, a text
  const std::string_view head = all.substr(0, cut),
                         text = cut == std::string_view::npos ? all : all.substr(cut + 1);
  normalize(all.substr(0, 4096));
  for (const bool is_regex : {false, true}) {
    try {
      if (is_regex) {
        regex(head.substr(0, 100), text.substr(0, 200));
      } else {
        charsmap(head, text);
      }
    } catch (const Error& error) {
      if (error.status() != Status::unsupported) require_refusal(error);  // a match that takes too long
    }
  }
  return 0;
}
