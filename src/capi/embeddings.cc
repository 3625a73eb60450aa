// What the results of embedding and fusing say.
#include <bit>

#include "capi/arguments.h"
#include "capi/guard.h"

using namespace nanochat;

namespace {

constexpr size_t kRoutingInfoSize = 56;

static_assert(std::endian::native == std::endian::little, "a hypervector's words are its bytes");

bool has_input(const nanochat_embeddings* embeddings, size_t input) {
  return embeddings != nullptr && input < embeddings->embeddings.n_inputs();
}

}  // namespace

extern "C" {

void nanochat_embeddings_free(nanochat_embeddings* embeddings) { delete embeddings; }

size_t nanochat_embeddings_count(const nanochat_embeddings* embeddings) {
  return embeddings == nullptr ? 0 : embeddings->embeddings.n_inputs();
}

size_t nanochat_embeddings_width(const nanochat_embeddings* embeddings) {
  return embeddings == nullptr ? 0 : static_cast<size_t>(embeddings->embeddings.width);
}

size_t nanochat_embeddings_rows(const nanochat_embeddings* embeddings, size_t input) {
  if (!has_input(embeddings, input)) return 0;
  const std::vector<int64_t>& first_row = embeddings->embeddings.first_row;
  return static_cast<size_t>(first_row[input + 1] - first_row[input]);
}

const float* nanochat_embeddings_values(const nanochat_embeddings* embeddings, size_t input) {
  if (!has_input(embeddings, input)) return nullptr;
  const Embeddings& all = embeddings->embeddings;
  return all.values.empty() ? nullptr : all.values.data() + all.first_row[input] * all.width;
}

int64_t nanochat_embeddings_tokens(const nanochat_embeddings* embeddings, size_t input) {
  return has_input(embeddings, input) ? embeddings->embeddings.n_tokens[input] : 0;
}

size_t nanochat_embeddings_sparse(const nanochat_embeddings* embeddings, size_t input, const int32_t** tokens,
                                  const float** weights) {
  const bool has_sparse = has_input(embeddings, input) && !embeddings->embeddings.sparse.empty();
  const SparseVector* vector = has_sparse ? &embeddings->embeddings.sparse[input] : nullptr;
  if (tokens != nullptr) *tokens = vector == nullptr ? nullptr : vector->tokens.data();
  if (weights != nullptr) *weights = vector == nullptr ? nullptr : vector->weights.data();
  return vector == nullptr ? 0 : vector->tokens.size();
}

const uint8_t* nanochat_embeddings_bits(const nanochat_embeddings* embeddings, size_t input) {
  if (!has_input(embeddings, input) || embeddings->embeddings.bits.empty()) return nullptr;
  return reinterpret_cast<const uint8_t*>(embeddings->embeddings.bits[input].words().data());
}

nanochat_status nanochat_embeddings_routing(const nanochat_embeddings* embeddings, size_t input,
                                            nanochat_routing_info* info, nanochat_error** error) {
  return guard(error, [&] {
    require_pointer(embeddings, "embeddings");
    require_info(info, "nanochat_routing_info", kRoutingInfoSize);
    const Embeddings& all = embeddings->embeddings;
    if (all.routing.empty()) {
      throw Error(Status::unsupported)
          .subject("embeddings")
          .say("the embeddings were not made by nanochat_fuse() and have no routing");
    }
    require_input(all, input);
    const RoutingWeights& routing = all.routing[input];
    export_info({0, routing.weights.data(), routing.selected_experts.data(), routing.selected_weights.data(),
                 routing.weights.size(), routing.selected_experts.size(), routing.is_fallback ? 1 : 0, 0},
                info);
  });
}

}  // extern "C"
