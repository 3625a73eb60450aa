// Encoder::plan, load and create_random: a directory is opened and checked against its configuration, or made
// up; one pass fills the block.
#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/file.h"
#include "encoder/encoder.h"
#include "encoder/encoder_layout.h"
#include "encoder/encoder_modules.h"
#include "model/config.h"
#include "model/directory_source.h"
#include "model/random_source.h"

namespace nanochat {

namespace {

constexpr const char* kSparseTensor = "cls.predictions.transform.dense.weight";

// The folders of an encoder and what they say. Tensors have not been looked for yet.
struct OpenedEncoder {
  std::vector<std::unique_ptr<ModelDirectory>> folders;  // the model's own, then its modules'
  std::vector<std::string> names;                        // of the tensors of the first
  EncoderConfig config;
  bool is_int8 = false;
};

bool ends_any(const std::vector<std::string>& names, std::string_view ending) {
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& name) { return name.ends_with(ending); });
}

// What config.json leaves to the tensors: whether there is a head at all, and how wide ColBERT's is.
void ask_tensors(const OpenedEncoder& opened, bool is_sparse_wanted, EncoderConfig& config) {
  if (config.head == EncoderHead::sparse && !is_sparse_wanted && !ends_any(opened.names, kSparseTensor)) {
    config.head = EncoderHead::none;
  }
  const ModelDirectory& own = *opened.folders.front();
  if (config.head == EncoderHead::token_projection && config.head_folder.empty() &&
      own.contains("linear.weight")) {
    const Shape& shape = own.find("linear.weight").info->shape;
    if (shape.size() == 2 && shape[0] > 0) config.head_width = shape[0];
  }
}

void refuse_pooler(const EncoderConfig& config, const EncoderOptions& options) {
  if (options.pooler == PoolerWeights::absent) return;
  const bool has_pooler = config.text && (config.text->family == EncoderFamily::bert ||
                                          config.text->family == EncoderFamily::longformer);
  if (has_pooler) return;
  throw Error(Status::invalid_argument)
      .subject("pooler")
      .say("a pooler is asked for, but {} models have none", config.architecture);
}

OpenedEncoder open_encoder(const std::string& path, const EncoderOptions& options) {
  if (!directory_exists(path) && !file_exists(path)) {
    throw Error(Status::file_not_found).subject(path).say("{}: no such model directory", path);
  }
  const auto modules = read_sentence_modules(path);
  OpenedEncoder opened;
  const bool is_inside = modules && !modules->transformer_folder.empty();
  opened.folders.push_back(
      std::make_unique<ModelDirectory>(is_inside ? join_path(path, modules->transformer_folder) : path));
  const ModelDirectory& own = *opened.folders.front();
  opened.names = own.names();
  opened.config = parse_encoder_config(own.config(), own.config_path());
  if (modules) apply_sentence_modules(*modules, join_path(path, "modules.json"), opened.config);
  ask_tensors(opened, modules && modules->is_sparse, opened.config);
  check_encoder_config(opened.config, own.config_path());
  refuse_pooler(opened.config, options);
  opened.is_int8 = has_int8_weights(own.config(), own.config_path());
  for (const std::string& folder : module_folders(opened.config)) {
    opened.folders.push_back(std::make_unique<ModelDirectory>(join_path(path, folder)));
  }
  return opened;
}

void refuse_misplaced_tensors(const OpenedEncoder& opened, std::span<const EncoderSlot> slots) {
  std::vector<std::string> known;
  for (const EncoderSlot& slot : slots) {
    known.push_back(slot.name);
    if (slot.kind == TensorKind::matrix) known.push_back(scale_name(slot));
  }
  std::sort(known.begin(), known.end());
  for (const std::string& name : opened.names) {
    if (std::binary_search(known.begin(), known.end(), name)) continue;
    if (!is_misplaced_tensor(opened.config, opened.names, name)) continue;
    const std::string& path = opened.folders.front()->find(name).file->path();
    throw Error(Status::format_unsupported)
        .subject(path)
        .say("{}: tensor '{}' has no place in a {} encoder of {} layers", path, excerpt(name),
             opened.config.architecture,
             opened.config.text ? opened.config.text->n_layer : opened.config.vision->n_layer);
  }
}

std::vector<WantedTensor> list_wanted(const OpenedEncoder& opened, std::span<const EncoderSlot> slots) {
  std::vector<WantedTensor> wanted;
  for (const EncoderSlot& slot : slots) {
    wanted.push_back({opened.folders[slot.folder].get(), &slot, slot.is_embedding, opened.is_int8});
  }
  return wanted;
}

std::vector<WeightTarget> list_targets(std::span<const EncoderSlot> slots) {
  std::vector<WeightTarget> targets;
  for (const EncoderSlot& slot : slots) {
    WeightTarget target;
    target.tensor = &slot;
    target.matrix = slot.matrix;
    target.first_row = slot.first;
    target.used_rows = slot.n_rows();
    if (slot.table != nullptr) {
      target.data = const_cast<void*>(slot.table->rows);
      target.table_dtype = slot.table->dtype;
    } else if (slot.vector != nullptr) {
      target.data = const_cast<float*>(*slot.vector) + slot.first;
    } else if (slot.host != nullptr) {
      target.keep = [to = slot.host->data()](int64_t i, float value) { to[i] = value; };
    }
    targets.push_back(std::move(target));
  }
  return targets;
}

// T5's bucket of a key that lies `distance` after its query: half of the buckets for either side, half of
// those exact, the others ever wider. In fp32, as the reference has it.
int64_t bucket_of(const TowerConfig& tower, int64_t distance) {
  const int64_t n_side = tower.n_buckets / 2, n_exact = n_side / 2;
  const int64_t start = distance > 0 ? n_side : 0;
  const int64_t reach = std::abs(distance);
  if (reach < n_exact) return start + reach;
  const float ratio = static_cast<float>(reach) / static_cast<float>(n_exact);
  const auto whole =
      static_cast<float>(std::log(static_cast<double>(tower.bucket_distance) / static_cast<double>(n_exact)));
  const float bucket = std::log(ratio) / whole * static_cast<float>(n_side - n_exact);
  return start + std::min(n_exact + static_cast<int64_t>(bucket), n_side - 1);
}

void fill_attention_bias(Device& device, const TowerConfig& tower, const TowerWeights& weights) {
  if (tower.n_buckets == 0) return;
  const int64_t width = 2 * weights.bias_reach + 1;
  std::vector<float> bias(static_cast<size_t>(tower.n_head * width));
  for (int64_t i = 0; i < width; ++i) {
    const int64_t bucket = bucket_of(tower, i - weights.bias_reach);
    for (int64_t head = 0; head < tower.n_head; ++head) {
      bias[static_cast<size_t>(head * width + i)] =
          weights.bucket_bias[static_cast<size_t>(bucket * tower.n_head + head)];
    }
  }
  device.copy_to_device(const_cast<float*>(weights.attention_bias), bias.data(), bias.size() * sizeof(float));
}

}  // namespace

class EncoderBuilder {
 public:
  EncoderBuilder(EncoderConfig config, const EncoderOptions& options, std::span<const std::string> names)
      : options_(options), encoder_(std::make_shared<OpenEncoder>()) {
    encoder_->config_ = std::move(config);
    slots_ = encoder_slots(encoder_->config_, options.pooler, names, encoder_->weights_);
  }

  std::span<const EncoderSlot> slots() const { return slots_; }

  EncoderPlan plan(std::span<const DType> stored) {
    return plan_encoder(encoder_->config_, slots_, stored, lay_out(stored, nullptr));
  }

  struct Source {
    std::string model_id;
    const WeightSource* weights;
    std::atomic<uint64_t>* bytes_read;
  };

  // Takes the whole block, then fills it. Once.
  std::shared_ptr<const Encoder> build(std::shared_ptr<Device> device, const Source& source,
                                       const Watch& watch) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<DType> stored(slots_.size());
    for (size_t i = 0; i < stored.size(); ++i) stored[i] = source.weights->dtype(i);
    Encoder& out = *encoder_;
    out.plan_ = plan(stored);
    out.plan_.file_bytes += source.weights->scale_bytes();
    watch.check();
    out.block_ = allocate_weights(device->memory(), lay_out(stored, nullptr).n_bytes);
    out.weight_dtype_ = lay_out(stored, out.block_.as()).weight_dtype;
    const std::vector<WeightTarget> targets = list_targets(slots_);
    const FillRequest request{source.model_id,   targets, source.weights,
                              source.bytes_read, "load",  options_.checks};
    out.checksum_ = fill_weights(*device, request, watch);
    if (out.config_.text) fill_attention_bias(*device, *out.config_.text, out.weights_.text);
    device->synchronize();
    out.device_ = std::move(device);
    out.load_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return encoder_;
  }

 private:
  struct OpenEncoder : Encoder {};  // Encoder's own constructor is private

  EncoderLayout lay_out(std::span<const DType> stored, void* base) {
    return lay_out_encoder(encoder_->config_, slots_, stored, options_, base, encoder_->weights_);
  }

  EncoderOptions options_;
  std::shared_ptr<Encoder> encoder_;
  std::vector<EncoderSlot> slots_;  // point into it
};

EncoderPlan Encoder::plan(const std::string& path, const EncoderOptions& options) {
  const std::string model_id = model_id_of(path, options.model_id);
  const std::atomic<uint64_t> bytes_read{0};
  return told_as_load_failure(path, model_id, bytes_read, [&] {
    const OpenedEncoder opened = open_encoder(path, options);
    EncoderBuilder builder(opened.config, options, opened.names);
    const std::vector<WantedTensor> wanted = list_wanted(opened, builder.slots());
    const FoundTensors found = find_tensors(wanted, model_id);
    refuse_misplaced_tensors(opened, builder.slots());
    EncoderPlan plan = builder.plan(found.stored);
    plan.file_bytes += found.scale_bytes();
    return plan;
  });
}

EncoderConfig Encoder::read_config(const std::string& path, const EncoderOptions& options) {
  const std::atomic<uint64_t> bytes_read{0};
  return told_as_load_failure(path, model_id_of(path, options.model_id), bytes_read,
                              [&] { return open_encoder(path, options).config; });
}

std::shared_ptr<const Encoder> Encoder::load(std::shared_ptr<Device> device, const std::string& path,
                                             const EncoderOptions& options, const Watch& watch) {
  const std::string model_id = model_id_of(path, options.model_id);
  std::atomic<uint64_t> bytes_read{0};
  return told_as_load_failure(path, model_id, bytes_read, [&] {
    const OpenedEncoder opened = open_encoder(path, options);
    EncoderBuilder builder(opened.config, options, opened.names);
    const std::vector<WantedTensor> wanted = list_wanted(opened, builder.slots());
    const FoundTensors found = find_tensors(wanted, model_id);
    refuse_misplaced_tensors(opened, builder.slots());
    const DirectorySource source(wanted, found, model_id);
    return builder.build(std::move(device), {model_id, &source, &bytes_read}, watch);
  });
}

std::shared_ptr<const Encoder> Encoder::create_random(std::shared_ptr<Device> device,
                                                      const EncoderConfig& config, uint64_t seed,
                                                      const EncoderOptions& options, const Watch& watch) {
  check_encoder_config(config, "encoder configuration");
  refuse_pooler(config, options);
  EncoderBuilder builder(config, options, {});
  std::vector<RandomTensor> tensors;
  for (const EncoderSlot& slot : builder.slots())
    tensors.push_back({&slot, slot.n_rows(), slot.mean, slot.deviation});
  const DType dtype = options.weight_dtype == WeightDtype::bf16 ? DType::bf16 : DType::f32;
  const RandomSource source(std::move(tensors), seed, dtype);
  std::atomic<uint64_t> bytes_read{0};
  return builder.build(std::move(device), {"random", &source, &bytes_read}, watch);
}

}  // namespace nanochat
