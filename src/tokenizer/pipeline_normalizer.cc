#include "tokenizer/pipeline_normalizer.h"

#include <algorithm>

#include "base/utf8.h"

namespace nanochat {

std::string replace_all(std::string_view text, std::string_view what, std::string_view by) {
  std::string result;
  result.reserve(text.size());
  for (size_t position = 0;;) {
    const size_t found = text.find(what, position);
    result += text.substr(position, found - position);
    if (found == std::string_view::npos) return result;
    result += by;
    position = found + what.size();
  }
}

namespace {

// The origin of what stands in a match's place is that of the match's last byte.
void replace_literal(const NormalizerStep& step, NormalizedText& text) {
  const std::string_view source = text.source();
  for (;;) {
    const size_t found = source.find(step.what, text.position());
    text.keep(std::min(found, source.size()) - text.position());
    if (found == std::string_view::npos) return;
    text.skip(step.what.size());
    text.insert(step.by);
  }
}

void prepend(const NormalizerStep& step, NormalizedText& text) {
  const std::string_view source = text.source();
  if (source.empty()) return;
  const DecodedCodepoint first = decode_utf8(source, 0);
  text.replace(first.length, std::string(step.by) + std::string(source.substr(0, first.length)));
  text.keep(source.size() - text.position());
}

void run_step(const NormalizerStep& step, NormalizedText& text) {
  switch (step.kind) {
    case NormalizerStep::Kind::replace:
      return replace_literal(step, text);
    case NormalizerStep::Kind::prepend:
      return prepend(step, text);
  }
}

}  // namespace

TextPiece PipelineNormalizer::apply(const TextPiece& piece, Trace trace, NormalizedText& result) const {
  TextPiece view = piece;
  NormalizedText next;
  for (const NormalizerStep& step : steps_) {
    next.start(view, trace);
    run_step(step, next);
    result.swap(next);
    view = result.view();
  }
  return view;
}

std::string PipelineNormalizer::apply(std::string_view text) const {
  NormalizedText result;
  return std::string(apply(TextPiece{text}, Trace::off, result).text);
}

size_t PipelineNormalizer::size_bound(size_t text_bytes, size_t n_segments) const {
  for (const NormalizerStep& step : steps_) {
    if (step.kind == NormalizerStep::Kind::prepend) {
      text_bytes += n_segments * step.by.size();
    } else if (step.by.size() > step.what.size()) {
      text_bytes *= (step.by.size() + step.what.size() - 1) / step.what.size();
    }
  }
  return text_bytes;
}

}  // namespace nanochat
