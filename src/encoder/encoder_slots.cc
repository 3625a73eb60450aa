// The names of tensors, family by family.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "encoder/encoder_weights.h"

namespace nanochat {

namespace {

bool contains(std::span<const std::string> names, std::string_view name) {
  return std::binary_search(names.begin(), names.end(), name);
}

// What stands before `ending` in the name that ends so; the shortest if there are several.
std::string prefix_before(std::span<const std::string> names, std::string_view ending) {
  const std::string* found = nullptr;
  for (const std::string& name : names) {
    if (!name.ends_with(ending)) continue;
    if (name.size() > ending.size() && name[name.size() - ending.size() - 1] != '.') continue;
    if (found == nullptr || name.size() < found->size()) found = &name;
  }
  return found == nullptr ? std::string() : found->substr(0, found->size() - ending.size());
}

std::string_view telling_name(EncoderFamily family) {
  switch (family) {
    case EncoderFamily::t5:
      return "encoder.final_layer_norm.weight";
    case EncoderFamily::clip_text:
      return "text_model.final_layer_norm.weight";
    case EncoderFamily::clip_vision:
      return "vision_model.post_layernorm.weight";
    default:
      return "embeddings.word_embeddings.weight";
  }
}

// Names of files that have none to tell.
std::string default_prefix(const EncoderConfig& config, EncoderFamily family) {
  if (family == EncoderFamily::longformer) return "longformer.";
  return config.head == EncoderHead::sparse || config.head == EncoderHead::token_projection ? "bert." : "";
}

std::string prefix_of(const EncoderConfig& config, EncoderFamily family, std::span<const std::string> names) {
  if (names.empty()) return default_prefix(config, family);
  return prefix_before(names, telling_name(family));
}

struct MatrixPart {
  int64_t first_row, n_whole;
};

class SlotList {
 public:
  explicit SlotList(std::span<const std::string> names) : names_(names) {}

  // The next slots come from there.
  void in_folder(size_t folder) { folder_ = folder; }

  void matrix(std::string name, Shape shape, PackedMatrix& to) {
    const int64_t n = shape[0];
    matrix_part(std::move(name), std::move(shape), to, {0, n});
  }
  void matrix_part(std::string name, Shape shape, PackedMatrix& to, MatrixPart part) {
    EncoderSlot& slot = add(std::move(name), std::move(shape), TensorKind::matrix);
    slot.matrix = &to;
    slot.first = part.first_row;
    slot.n_whole = part.n_whole;
    slot.deviation = 1.0 / std::sqrt(static_cast<double>(slot.width()));
  }
  void vector(std::string name, int64_t n, const float*& to) { vector_part(std::move(name), n, to, {0, n}); }
  void vector_part(std::string name, int64_t n, const float*& to, MatrixPart part) {
    EncoderSlot& slot = add(std::move(name), {n}, TensorKind::vector);
    slot.vector = &to;
    slot.first = part.first_row;
    slot.n_whole = part.n_whole;
    slot.deviation = 0.1;
  }
  void table(std::string name, Shape shape, EmbeddingTable& to) {
    EncoderSlot& slot = add(std::move(name), std::move(shape), TensorKind::table);
    slot.table = &to;
    slot.deviation = 0.5;
  }
  void host(std::string name, Shape shape, std::vector<float>& to) {
    EncoderSlot& slot = add(std::move(name), std::move(shape), TensorKind::scalars);
    to.resize(static_cast<size_t>(slot.n_elements()));
    slot.host = &to;
    slot.deviation = 0.5;
  }

  // "X.weight" and "X.bias".
  void linear(const std::string& name, Shape shape, EncoderLinear& to, bool has_bias) {
    const int64_t n = shape[0];
    linear_part(name, std::move(shape), to, {0, n}, has_bias);
  }
  void linear_part(const std::string& name, Shape shape, EncoderLinear& to, MatrixPart part, bool has_bias) {
    const int64_t n = shape[0];
    matrix_part(name + ".weight", std::move(shape), to.matrix, part);
    if (has_bias) vector_part(name + ".bias", n, to.bias, part);
  }
  // Of old files: "X.gamma" and "X.beta".
  void norm(const std::string& name, int64_t width, EncoderNorm& to, NormKind kind = NormKind::layer) {
    const bool is_old = contains(names_, name + ".gamma") && !contains(names_, name + ".weight");
    vector(name + (is_old ? ".gamma" : ".weight"), width, to.weight);
    slots_.back().mean = 1.0;
    if (kind == NormKind::layer) vector(name + (is_old ? ".beta" : ".bias"), width, to.bias);
  }
  void mark_embedding() { slots_.back().is_embedding = true; }

  std::vector<EncoderSlot> take() { return std::move(slots_); }

 private:
  EncoderSlot& add(std::string name, Shape shape, TensorKind kind) {
    EncoderSlot slot;
    slot.name = std::move(name);
    slot.shape = std::move(shape);
    slot.kind = kind;
    slot.folder = folder_;
    return slots_.emplace_back(std::move(slot));
  }

  std::span<const std::string> names_;
  std::vector<EncoderSlot> slots_;
  size_t folder_ = 0;
};

// --- BERT, RoBERTa, Longformer -----------------------------------------------------------------------------

void add_bert_layer(const TowerConfig& tower, const std::string& prefix, EncoderLayer& layer,
                    SlotList& list) {
  const int64_t width = tower.n_embd;
  const Shape square{width, width};
  const std::string self = prefix + "attention.self.";
  list.linear_part(self + "query", square, layer.qkv, {0, 3 * width}, true);
  list.linear_part(self + "key", square, layer.qkv, {width, 3 * width}, true);
  list.linear_part(self + "value", square, layer.qkv, {2 * width, 3 * width}, true);
  if (tower.has_global_tokens) {
    list.linear(self + "query_global", square, layer.global_q, true);
    list.linear_part(self + "key_global", square, layer.global_kv, {0, 2 * width}, true);
    list.linear_part(self + "value_global", square, layer.global_kv, {width, 2 * width}, true);
  }
  list.linear(prefix + "attention.output.dense", square, layer.o, true);
  list.norm(prefix + "attention.output.LayerNorm", width, layer.attention_norm);
  list.linear(prefix + "intermediate.dense", {tower.mlp_hidden, width}, layer.mlp_in, true);
  list.linear(prefix + "output.dense", {width, tower.mlp_hidden}, layer.mlp_out, true);
  list.norm(prefix + "output.LayerNorm", width, layer.mlp_norm);
}

void add_bert(const EncoderConfig& config, const std::string& prefix, EncoderWeights& weights,
              SlotList& list) {
  const TowerConfig& tower = *config.text;
  const std::string embeddings = prefix + "embeddings.";
  const std::string words = embeddings + "word_embeddings.weight";
  const Shape shape{tower.vocab_size, tower.n_embd};
  if (config.head == EncoderHead::sparse && config.is_head_tied) {
    list.matrix(words, shape, weights.vocabulary.matrix);
  } else {
    list.table(words, shape, weights.text.words);
  }
  list.mark_embedding();
  list.table(embeddings + "position_embeddings.weight", {tower.n_positions, tower.n_embd},
             weights.text.positions);
  if (tower.n_types > 0) {
    list.table(embeddings + "token_type_embeddings.weight", {tower.n_types, tower.n_embd},
               weights.text.types);
  }
  list.norm(embeddings + "LayerNorm", tower.n_embd, weights.text.embedding_norm);
  for (int64_t i = 0; i < tower.n_layer; ++i) {
    add_bert_layer(tower, format_text("{}encoder.layer.{}.", prefix, i),
                   weights.text.layers[static_cast<size_t>(i)], list);
  }
}

void add_sparse_head(const EncoderConfig& config, std::span<const std::string> names, EncoderWeights& weights,
                     SlotList& list) {
  const TowerConfig& tower = *config.text;
  const std::string prefix =
      prefix_before(names, "cls.predictions.transform.dense.weight") + "cls.predictions.";
  list.linear(prefix + "transform.dense", {tower.n_embd, tower.n_embd}, weights.head_transform, true);
  list.norm(prefix + "transform.LayerNorm", tower.n_embd, weights.head_norm);
  if (!config.is_head_tied) {
    list.matrix(prefix + "decoder.weight", {tower.vocab_size, tower.n_embd}, weights.vocabulary.matrix);
  }
  // Both names are of one vector, except where nothing is tied.
  const bool is_in_decoder =
      contains(names, prefix + "decoder.bias") && (!config.is_head_tied || !contains(names, prefix + "bias"));
  list.vector(prefix + (is_in_decoder ? "decoder.bias" : "bias"), tower.vocab_size, weights.vocabulary.bias);
}

// --- T5 ----------------------------------------------------------------------------------------------------

void add_t5_layer(const TowerConfig& tower, const std::string& prefix, EncoderLayer& layer, SlotList& list) {
  const int64_t width = tower.n_embd, inner = tower.attention_width();
  const std::string self = prefix + "layer.0.SelfAttention.";
  list.linear_part(self + "q", {inner, width}, layer.qkv, {0, 3 * inner}, false);
  list.linear_part(self + "k", {inner, width}, layer.qkv, {inner, 3 * inner}, false);
  list.linear_part(self + "v", {inner, width}, layer.qkv, {2 * inner, 3 * inner}, false);
  list.linear(self + "o", {width, inner}, layer.o, false);
  list.norm(prefix + "layer.0.layer_norm", width, layer.attention_norm, NormKind::rms);
  const std::string dense = prefix + "layer.1.DenseReluDense.";
  const Shape in{tower.mlp_hidden, width};
  if (tower.is_gated) {
    list.linear_part(dense + "wi_0", in, layer.mlp_in, {0, 2 * tower.mlp_hidden}, false);
    list.linear_part(dense + "wi_1", in, layer.mlp_in, {tower.mlp_hidden, 2 * tower.mlp_hidden}, false);
  } else {
    list.linear(dense + "wi", in, layer.mlp_in, false);
  }
  list.linear(dense + "wo", {width, tower.mlp_hidden}, layer.mlp_out, false);
  list.norm(prefix + "layer.1.layer_norm", width, layer.mlp_norm, NormKind::rms);
}

void add_t5(const EncoderConfig& config, const std::string& prefix, std::span<const std::string> names,
            EncoderWeights& weights, SlotList& list) {
  const TowerConfig& tower = *config.text;
  const std::string shared = prefix + "shared.weight", own = prefix + "encoder.embed_tokens.weight";
  const bool is_own = !contains(names, shared) && contains(names, own);
  list.table(is_own ? own : shared, {tower.vocab_size, tower.n_embd}, weights.text.words);
  list.mark_embedding();
  list.host(prefix + "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            {tower.n_buckets, tower.n_head}, weights.text.bucket_bias);
  for (int64_t i = 0; i < tower.n_layer; ++i) {
    add_t5_layer(tower, format_text("{}encoder.block.{}.", prefix, i),
                 weights.text.layers[static_cast<size_t>(i)], list);
  }
  list.norm(prefix + "encoder.final_layer_norm", tower.n_embd, weights.text.final_norm, NormKind::rms);
}

// --- CLIP --------------------------------------------------------------------------------------------------

void add_clip_layers(const TowerConfig& tower, const std::string& prefix, TowerWeights& weights,
                     SlotList& list) {
  const int64_t width = tower.n_embd;
  const Shape square{width, width};
  for (int64_t i = 0; i < tower.n_layer; ++i) {
    EncoderLayer& layer = weights.layers[static_cast<size_t>(i)];
    const std::string own = format_text("{}encoder.layers.{}.", prefix, i);
    list.norm(own + "layer_norm1", width, layer.attention_norm);
    list.linear_part(own + "self_attn.q_proj", square, layer.qkv, {0, 3 * width}, true);
    list.linear_part(own + "self_attn.k_proj", square, layer.qkv, {width, 3 * width}, true);
    list.linear_part(own + "self_attn.v_proj", square, layer.qkv, {2 * width, 3 * width}, true);
    list.linear(own + "self_attn.out_proj", square, layer.o, true);
    list.norm(own + "layer_norm2", width, layer.mlp_norm);
    list.linear(own + "mlp.fc1", {tower.mlp_hidden, width}, layer.mlp_in, true);
    list.linear(own + "mlp.fc2", {width, tower.mlp_hidden}, layer.mlp_out, true);
  }
}

void add_clip_text(const EncoderConfig& config, const std::string& prefix, EncoderWeights& weights,
                   SlotList& list) {
  const TowerConfig& tower = *config.text;
  const std::string model = prefix + "text_model.";
  list.table(model + "embeddings.token_embedding.weight", {tower.vocab_size, tower.n_embd},
             weights.text.words);
  list.mark_embedding();
  list.table(model + "embeddings.position_embedding.weight", {tower.n_positions, tower.n_embd},
             weights.text.positions);
  add_clip_layers(tower, model, weights.text, list);
  list.norm(model + "final_layer_norm", tower.n_embd, weights.text.final_norm);
  list.linear(prefix + "text_projection", {config.head_width, tower.n_embd}, weights.text.projection, false);
}

void add_clip_vision(const EncoderConfig& config, const std::string& prefix, EncoderWeights& weights,
                     SlotList& list) {
  const TowerConfig& tower = *config.vision;
  const std::string model = prefix + "vision_model.";
  list.vector(model + "embeddings.class_embedding", tower.n_embd, weights.vision.class_embedding);
  list.matrix(model + "embeddings.patch_embedding.weight",
              {tower.n_embd, 3, tower.patch_size, tower.patch_size}, weights.vision.patches.matrix);
  list.table(model + "embeddings.position_embedding.weight", {tower.n_positions, tower.n_embd},
             weights.vision.positions);
  list.norm(model + "pre_layrnorm", tower.n_embd, weights.vision.embedding_norm);
  add_clip_layers(tower, model, weights.vision, list);
  list.norm(model + "post_layernorm", tower.n_embd, weights.vision.final_norm);
  list.linear(prefix + "visual_projection", {config.head_width, tower.n_embd}, weights.vision.projection,
              false);
}

void add_text(const EncoderConfig& config, std::span<const std::string> names, EncoderWeights& weights,
              SlotList& list) {
  const EncoderFamily family = config.text->family;
  const std::string prefix = prefix_of(config, family, names);
  weights.text.layers.resize(static_cast<size_t>(config.text->n_layer));
  switch (family) {
    case EncoderFamily::bert:
    case EncoderFamily::longformer:
      return add_bert(config, prefix, weights, list);
    case EncoderFamily::t5:
      add_t5(config, prefix, names, weights, list);
      if (config.head == EncoderHead::projection) {
        list.linear(prefix + "proj", {config.head_width, config.text->n_embd}, weights.text.projection,
                    config.head_has_bias);
      }
      return;
    default:
      return add_clip_text(config, prefix, weights, list);
  }
}

void add_modules(const EncoderConfig& config, EncoderWeights& weights, SlotList& list) {
  if (config.head == EncoderHead::token_projection) {
    list.in_folder(config.head_folder.empty() ? 0 : 1);
    list.linear("linear", {config.head_width, config.text->n_embd}, weights.token_projection, false);
  }
  weights.dense.resize(config.dense.size());
  for (size_t i = 0; i < config.dense.size(); ++i) {
    const DenseConfig& dense = config.dense[i];
    list.in_folder(i + 1);
    list.linear("linear", {dense.n_outputs, dense.n_inputs}, weights.dense[i], dense.has_bias);
  }
}

// What a transformer's own tensors begin with.
std::vector<std::string> roots_of(const EncoderConfig& config, std::span<const std::string> names) {
  std::vector<std::string> roots;
  if (config.text) {
    const EncoderFamily family = config.text->family;
    const std::string prefix = prefix_of(config, family, names);
    if (family == EncoderFamily::clip_text) {
      roots.push_back(prefix + "text_model.");
    } else {
      roots.push_back(prefix + "encoder.");
      if (family != EncoderFamily::t5) roots.push_back(prefix + "embeddings.");
    }
  }
  if (config.vision) roots.push_back(prefix_of(config, EncoderFamily::clip_vision, names) + "vision_model.");
  return roots;
}

}  // namespace

std::vector<EncoderSlot> encoder_slots(const EncoderConfig& config, PoolerWeights pooler,
                                       std::span<const std::string> names, EncoderWeights& weights) {
  SlotList list(names);
  if (config.text) add_text(config, names, weights, list);
  if (config.vision) {
    weights.vision.layers.resize(static_cast<size_t>(config.vision->n_layer));
    add_clip_vision(config, prefix_of(config, EncoderFamily::clip_vision, names), weights, list);
  }
  if (pooler == PoolerWeights::present) {
    const std::string prefix = prefix_of(config, config.text->family, names);
    list.linear(prefix + "pooler.dense", {config.text->n_embd, config.text->n_embd}, weights.pooler, true);
  }
  if (config.head == EncoderHead::sparse) add_sparse_head(config, names, weights, list);
  add_modules(config, weights, list);
  return list.take();
}

std::vector<std::string> module_folders(const EncoderConfig& config) {
  if (!config.head_folder.empty()) return {config.head_folder};
  std::vector<std::string> folders;
  for (const DenseConfig& dense : config.dense) folders.push_back(dense.folder);
  return folders;
}

bool is_misplaced_tensor(const EncoderConfig& config, std::span<const std::string> names,
                         std::string_view name) {
  // Buffers that are recomputed, and the copy of a table that is shared.
  for (const std::string_view ending : {"position_ids", "token_type_ids", "encoder.embed_tokens.weight"}) {
    if (name.ends_with(ending)) return false;
  }
  for (const std::string& root : roots_of(config, names)) {
    if (name.starts_with(root)) return true;
  }
  return false;
}

}  // namespace nanochat
