// The embedders without weights: times and hypervectors.
#include "capi/arguments.h"
#include "capi/guard.h"
#include "encoder/hypervector.h"
#include "encoder/temporal_embedder.h"

using namespace nanochat;

namespace {

Embeddings for_inputs(size_t n_inputs, int64_t width) {
  Embeddings out;
  out.width = width;
  out.n_tokens.resize(n_inputs);
  out.first_row.resize(n_inputs + 1);
  return out;
}

}  // namespace

extern "C" {

nanochat_status nanochat_time_parse(const char* text, size_t text_size, double* out_seconds,
                                    nanochat_error** error) {
  return guard(error, [&] {
    require_pointer(out_seconds, "out_seconds");
    const TimePoint time = parse_time_point(import_text(text, text_size, "text"));
    *out_seconds = static_cast<double>(time.seconds) + time.fraction;
  });
}

nanochat_status nanochat_embed_times(int32_t embedder, const double* times, size_t n_times, double reference,
                                     nanochat_embeddings** out_embeddings, nanochat_error** error) {
  return guard(error, [&] {
    require_enum(embedder, NANOCHAT_TIME_POSITIONAL, "embedder");
    require_pointer(out_embeddings, "out_embeddings");
    const auto moments = import_array(times, n_times, "times");
    TemporalOptions options;
    if (reference != 0.0) options.reference = time_point_of(reference);
    Embeddings out = for_inputs(n_times, kTemporalWidth);
    out.values.resize(n_times * kTemporalWidth);
    for (size_t i = 0; i < n_times; ++i) {
      out.first_row[i + 1] = static_cast<int64_t>(i + 1);
      embed_time(static_cast<TemporalEmbedder>(embedder), time_point_of(moments[i]), options,
                 std::span(out.values).subspan(i * kTemporalWidth, kTemporalWidth));
    }
    *out_embeddings = new nanochat_embeddings{std::move(out)};
  });
}

nanochat_status nanochat_embed_hypervectors(const char* const* texts, const size_t* text_sizes,
                                            size_t n_texts, nanochat_embeddings** out_embeddings,
                                            nanochat_error** error) {
  return guard(error, [&] {
    require_pointer(out_embeddings, "out_embeddings");
    const auto pointers = import_array(texts, n_texts, "texts");
    Embeddings out = for_inputs(n_texts, Hypervector::kBits);
    for (size_t i = 0; i < n_texts; ++i) {
      const size_t size = text_sizes == nullptr ? NANOCHAT_NUL_TERMINATED : text_sizes[i];
      out.bits.push_back(embed_hyperdimensional(import_text(pointers[i], size, "texts")));
    }
    *out_embeddings = new nanochat_embeddings{std::move(out)};
  });
}

}  // extern "C"
