#include "model/tensor_slots.h"

#include "base/error.h"

namespace nanochat {

namespace {

using Role = TensorRole;

// The names of one format. An empty string: the format has no such tensor.
struct NameTable {
  const char* embedding;
  const char* lm_head;
  const char* final_norm;
  const char* layer;  // prefix, "{}" is the layer
  const char *q, *k, *v, *o;
  const char *mlp_gate, *mlp_in, *mlp_out;
  const char *attention_norm, *mlp_norm;
};

constexpr NameTable kNanochatNames{"transformer.wte.weight",
                                   "lm_head.weight",
                                   "",
                                   "transformer.h.{}.",
                                   "attn.c_q.weight",
                                   "attn.c_k.weight",
                                   "attn.c_v.weight",
                                   "attn.c_proj.weight",
                                   "",
                                   "mlp.c_fc.weight",
                                   "mlp.c_proj.weight",
                                   "",
                                   ""};
constexpr NameTable kHfNanochatNames{"model.embed_tokens.weight",
                                     "lm_head.weight",
                                     "",
                                     "model.layers.{}.",
                                     "self_attn.q_proj.weight",
                                     "self_attn.k_proj.weight",
                                     "self_attn.v_proj.weight",
                                     "self_attn.o_proj.weight",
                                     "",
                                     "mlp.fc1.weight",
                                     "mlp.fc2.weight",
                                     "",
                                     ""};
constexpr NameTable kHfLlamaNames{"model.embed_tokens.weight",
                                  "lm_head.weight",
                                  "model.norm.weight",
                                  "model.layers.{}.",
                                  "self_attn.q_proj.weight",
                                  "self_attn.k_proj.weight",
                                  "self_attn.v_proj.weight",
                                  "self_attn.o_proj.weight",
                                  "mlp.gate_proj.weight",
                                  "mlp.up_proj.weight",
                                  "mlp.down_proj.weight",
                                  "input_layernorm.weight",
                                  "post_attention_layernorm.weight"};

const NameTable& names_of(ModelFormat format) {
  switch (format) {
    case ModelFormat::hf_nanochat:
      return kHfNanochatNames;
    case ModelFormat::hf_llama:
      return kHfLlamaNames;
    case ModelFormat::nanochat:
      break;
  }
  return kNanochatNames;
}

class SlotList {
 public:
  explicit SlotList(const ModelConfig& config) : config_(config), names_(names_of(config.format)) {}

  void before_layers() {
    const Role role = config_.lm_head == LmHead::tied ? Role::lm_head : Role::embedding;
    add(role, -1, names_.embedding, {config_.padded_vocab_size, config_.n_embd});
    if (config_.smear_channels > 0) {
      add(Role::smear_gate, -1, "smear_gate.weight", {1, config_.smear_channels});
      add(Role::smear_lambda, -1, "smear_lambda", {1});
    }
    if (config_.has_residual_scalars) {
      add(Role::resid_lambdas, -1, "resid_lambdas", {config_.n_layer});
      add(Role::x0_lambdas, -1, "x0_lambdas", {config_.n_layer});
    }
  }

  void layer(int64_t i) {
    const ModelConfig& c = config_;
    const int64_t q_width = c.n_head * c.head_dim;
    if (c.norm_weight == NormWeight::present)
      add_in_layer(Role::attention_norm, i, names_.attention_norm, {c.n_embd});
    add_in_layer(Role::q, i, names_.q, {q_width, c.n_embd});
    add_in_layer(Role::k, i, names_.k, {c.n_kv_width(), c.n_embd});
    add_in_layer(Role::v, i, names_.v, {c.n_kv_width(), c.n_embd});
    if (c.has_value_embedding(i)) {
      add(Role::value_embedding, i, format_text("value_embeds.{}.weight", i),
          {c.padded_vocab_size, c.n_kv_width()});
      add_in_layer(Role::value_gate, i, "attn.ve_gate.weight", {c.n_kv_head, c.ve_gate_channels});
    }
    add_in_layer(Role::o, i, names_.o, {c.n_embd, q_width});
    if (c.norm_weight == NormWeight::present) add_in_layer(Role::mlp_norm, i, names_.mlp_norm, {c.n_embd});
    if (c.activation == Activation::swiglu) {
      add_in_layer(Role::mlp_gate, i, names_.mlp_gate, {c.mlp_hidden, c.n_embd});
    }
    add_in_layer(Role::mlp_in, i, names_.mlp_in, {c.mlp_hidden, c.n_embd});
    add_in_layer(Role::mlp_out, i, names_.mlp_out, {c.n_embd, c.mlp_hidden});
  }

  void after_layers() {
    if (config_.backout_layer >= 0) add(Role::backout_lambda, -1, "backout_lambda", {1});
    if (config_.norm_weight == NormWeight::present)
      add(Role::final_norm, -1, names_.final_norm, {config_.n_embd});
    if (config_.lm_head == LmHead::untied) {
      add(Role::lm_head, -1, names_.lm_head, {config_.padded_vocab_size, config_.n_embd});
    }
  }

  std::vector<TensorSlot> take() { return std::move(slots_); }

 private:
  void add(Role role, int64_t layer, std::string name, Shape shape) {
    slots_.push_back({{std::move(name), std::move(shape), kind_of(role)}, role, layer});
  }
  void add_in_layer(Role role, int64_t layer, const char* name, Shape shape) {
    add(role, layer, format_text(names_.layer, layer) + name, std::move(shape));
  }

  const ModelConfig& config_;
  const NameTable& names_;
  std::vector<TensorSlot> slots_;
};

}  // namespace

TensorKind kind_of(TensorRole role) {
  if (role <= Role::mlp_out) return TensorKind::matrix;
  if (role <= Role::value_embedding) return TensorKind::table;
  return role <= Role::smear_gate ? TensorKind::vector : TensorKind::scalars;
}

std::vector<TensorSlot> tensor_slots(const ModelConfig& config) {
  SlotList list(config);
  list.before_layers();
  for (int64_t i = 0; i < config.n_layer; ++i) list.layer(i);
  list.after_layers();
  return list.take();
}

bool is_ignored_tensor(const ModelConfig& config, std::string_view name) {
  if (config.format == ModelFormat::nanochat) return false;
  if (name.ends_with("rotary_emb.inv_freq")) return true;
  return config.lm_head == LmHead::tied && name == names_of(config.format).lm_head;
}

const PackedMatrix& matrix_of(const Weights& weights, const TensorSlot& slot) {
  if (slot.role == Role::lm_head) return weights.lm_head;
  const LayerWeights& layer = weights.layers[static_cast<size_t>(slot.layer)];
  switch (slot.role) {
    case Role::o:
      return layer.o;
    case Role::mlp_gate:
    case Role::mlp_in:
      return layer.mlp_in;
    case Role::mlp_out:
      return layer.mlp_out;
    default:
      return layer.qkv;
  }
}

PackedMatrix& matrix_of(Weights& weights, const TensorSlot& slot) {
  return const_cast<PackedMatrix&>(matrix_of(std::as_const(weights), slot));
}

int64_t first_matrix_row(const ModelConfig& config, TensorRole role) {
  const int64_t q_width = config.n_head * config.head_dim;
  switch (role) {
    case Role::k:
      return q_width;
    case Role::v:
      return q_width + config.n_kv_width();
    case Role::mlp_in:
      return config.activation == Activation::swiglu ? config.mlp_hidden : 0;
    default:
      return 0;
  }
}

int64_t used_rows(const ModelConfig& config, const TensorSlot& slot) {
  return slot.role == Role::lm_head ? config.vocab_size : slot.n_rows();
}

const void*& table_of(Weights& weights, const TensorSlot& slot) {
  if (slot.role == Role::embedding) return weights.embedding;
  return weights.layers[static_cast<size_t>(slot.layer)].value_embedding;
}

const float*& vector_of(Weights& weights, const TensorSlot& slot) {
  if (slot.role == Role::final_norm) return weights.final_norm;
  if (slot.role == Role::smear_gate) return weights.smear_gate;
  LayerWeights& layer = weights.layers[static_cast<size_t>(slot.layer)];
  if (slot.role == Role::attention_norm) return layer.attention_norm;
  return slot.role == Role::mlp_norm ? layer.mlp_norm : layer.value_gate;
}

float& scalar_of(Weights& weights, const TensorSlot& slot, int64_t index) {
  switch (slot.role) {
    case Role::smear_lambda:
      return weights.smear_lambda;
    case Role::backout_lambda:
      return weights.backout_lambda;
    case Role::x0_lambdas:
      return weights.layers[static_cast<size_t>(index)].x0_lambda;
    default:
      return weights.layers[static_cast<size_t>(index)].resid_lambda;
  }
}

const void* table_of(const Weights& weights, const TensorSlot& slot) {
  return table_of(const_cast<Weights&>(weights), slot);
}

const float* vector_of(const Weights& weights, const TensorSlot& slot) {
  return vector_of(const_cast<Weights&>(weights), slot);
}

float scalar_of(const Weights& weights, const TensorSlot& slot, int64_t index) {
  return scalar_of(const_cast<Weights&>(weights), slot, index);
}

}  // namespace nanochat
