#include "tokenizer/pipeline_normalizer.h"

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

std::string PipelineNormalizer::apply(std::string_view text) const {
  std::string result(text);
  for (const NormalizerStep& step : steps_) {
    if (step.kind == NormalizerStep::Kind::replace) {
      result = replace_all(result, step.what, step.by);
    } else if (!result.empty()) {
      result.insert(0, step.by);
    }
  }
  return result;
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
