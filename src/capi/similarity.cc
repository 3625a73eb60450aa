// How alike two vectors are.
#include "encoder/similarity.h"

#include "capi/arguments.h"
#include "capi/guard.h"

using namespace nanochat;

namespace {

std::span<const float> import_floats(const float* values, size_t n, const char* name) {
  if (n > 0) require_pointer(values, name);
  return {values, n};
}

std::span<const std::byte> import_bytes(const uint8_t* values, size_t n, const char* name) {
  if (n > 0) require_pointer(values, name);
  return {reinterpret_cast<const std::byte*>(values), n};
}

}  // namespace

extern "C" {

nanochat_status nanochat_similarity_dot(const float* a, size_t a_size, const float* b, size_t b_size,
                                        double* out_similarity, nanochat_error** error) {
  return guard(error, [&] {
    require_pointer(out_similarity, "out_similarity");
    *out_similarity = dot_product(import_floats(a, a_size, "a"), import_floats(b, b_size, "b"));
  });
}

nanochat_status nanochat_similarity_cosine(const float* a, size_t a_size, const float* b, size_t b_size,
                                           double* out_similarity, nanochat_error** error) {
  return guard(error, [&] {
    require_pointer(out_similarity, "out_similarity");
    *out_similarity = cosine_similarity(import_floats(a, a_size, "a"), import_floats(b, b_size, "b"));
  });
}

nanochat_status nanochat_similarity_maxsim(const float* query, size_t query_size, const float* document,
                                           size_t document_size, size_t width, double* out_similarity,
                                           nanochat_error** error) {
  return guard(error, [&] {
    require_pointer(out_similarity, "out_similarity");
    constexpr size_t kWidest = size_t{1} << 32;
    if (width == 0 || width > kWidest)
      throw Error(Status::invalid_argument)
          .subject("width")
          .say("width is {}, expected 1 to {}", width, kWidest);
    *out_similarity =
        max_sim(import_floats(query, query_size, "query"), import_floats(document, document_size, "document"),
                static_cast<int64_t>(width));
  });
}

nanochat_status nanochat_similarity_hamming(const uint8_t* a, size_t a_size, const uint8_t* b, size_t b_size,
                                            size_t n_bits, double* out_similarity, nanochat_error** error) {
  return guard(error, [&] {
    require_pointer(out_similarity, "out_similarity");
    constexpr size_t kMost = size_t{1} << 48;
    if (n_bits > kMost)
      throw Error(Status::invalid_argument)
          .subject("n_bits")
          .say("n_bits is {}, expected {} at most", n_bits, kMost);
    *out_similarity = hamming_similarity(import_bytes(a, a_size, "a"), import_bytes(b, b_size, "b"),
                                         static_cast<int64_t>(n_bits));
  });
}

}  // extern "C"
