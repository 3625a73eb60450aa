// The embedders without weights: times and hypervectors.
#include "capi/arguments.h"
#include "capi/guard.h"
#include "infer/embed_computed.h"

using namespace nanochat;

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
    std::vector<TimePoint> points;
    points.reserve(n_times);
    for (const double moment : moments) points.push_back(time_point_of(moment));
    *out_embeddings =
        new nanochat_embeddings{embed_times(static_cast<TemporalEmbedder>(embedder), points, options)};
  });
}

nanochat_status nanochat_embed_hypervectors(const char* const* texts, const size_t* text_sizes,
                                            size_t n_texts, nanochat_embeddings** out_embeddings,
                                            nanochat_error** error) {
  return guard(error, [&] {
    require_pointer(out_embeddings, "out_embeddings");
    *out_embeddings = new nanochat_embeddings{embed_hypervectors(import_texts({texts, text_sizes, n_texts}))};
  });
}

}  // extern "C"
