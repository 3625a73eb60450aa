#include "model/kv_page.h"

namespace nanochat {

KvLayout kv_layout(const ModelConfig& config, DType dtype) {
  return {dtype, config.n_kv_head, config.head_dim};
}

int64_t page_layer_offset(const ModelConfig& config, DType dtype, int64_t layer) {
  return layer * kv_layout(config, dtype).layer_bytes();
}

int64_t page_embeddings_offset(const ModelConfig& config, DType dtype) {
  return page_layer_offset(config, dtype, config.n_layer);
}

uint64_t page_bytes(const ModelConfig& config, DType dtype) {
  const int64_t smear = config.smear_channels > 0 ? kPagePositions * config.n_embd : 0;
  return static_cast<uint64_t>(page_embeddings_offset(config, dtype)) +
         static_cast<uint64_t>(smear) * sizeof(float);
}

KvPage KvPage::allocate(const std::shared_ptr<const Model>& model, DType dtype) {
  auto shared = std::make_unique<Shared>();
  shared->dtype = dtype;
  shared->model = model;
  shared->block = model->device().memory().allocate(PoolKind::working, page_bytes(model->config(), dtype),
                                                    "page of a KV cache");
  return KvPage(std::move(shared));
}

}  // namespace nanochat
