#include "warm/component_files.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/file.h"
#include "base/json.h"
#include "io/safetensors.h"
#include "model/directory_source.h"

namespace nanochat {

namespace {

constexpr uint64_t kMostConfigBytes = uint64_t{1} << 24;

template <class F>
auto told(const ComponentSpec& spec, const std::string& path, const F& body) {
  const std::atomic<uint64_t> bytes_read{0};
  return told_as_load_failure(path, spec.id, bytes_read, body);
}

// What config.json says that lies in a folder; "" for what cannot be read: who loads it says why.
std::string model_type(const std::string& folder) {
  const std::string path = join_path(folder, "config.json");
  try {
    const Json config = parse_json(read_file(path, kMostConfigBytes), path);
    const Json* const type = config.find("model_type");
    return type != nullptr && type->is_string() ? type->get<std::string>() : "";
  } catch (const Error&) {
    return "";
  }
}

std::vector<float> read_values(const ComponentSpec& spec, const SafetensorsFile& file,
                               const TensorInfo& info) {
  if (info.dtype != DType::f32) {
    throw Error(Status::format_invalid)
        .subject(file.path())
        .say("{}: tensor '{}' has dtype {}, expected F32", file.path(), excerpt(info.name),
             dtype_name(info.dtype));
  }
  std::vector<float> values(info.n_bytes / sizeof(float));
  file.file().read_at(info.offset, std::as_writable_bytes(std::span(values)));
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    throw validation_failure(spec, format_text("{}: tensor '{}': element {} of {} is not finite", file.path(),
                                               info.name, i, values.size()))
        .field("tensor", info.name)
        .field("index", static_cast<uint64_t>(i));
  }
  return values;
}

}  // namespace

ModelOptions model_options(const ComponentSpec& spec, const WarmConfig& config) {
  return {.weight_dtype = spec.weights.value_or(config.quantization),
          .model_id = spec.id,
          .checks = config.checks};
}

EncoderOptions encoder_options(const ComponentSpec& spec, const WarmConfig& config) {
  const bool has_pooler = spec.pooling == TextPooling::pooler;
  return {.weight_dtype = spec.weights.value_or(config.quantization),
          .pooler = has_pooler ? PoolerWeights::present : PoolerWeights::absent,
          .model_id = spec.id,
          .checks = config.checks};
}

std::string weights_folder(const ComponentSpec& spec, const WarmConfig& config) {
  return resolve_path(config.weights_path, spec.path);
}

void refuse_other_kind(const ComponentSpec& spec, const std::string& folder) {
  const std::string type = model_type(folder);
  const bool is_fusion = type == "fuse_moe", is_decoder = type == "llama" || type == "nanochat";
  bool is_other = false;
  if (spec.kind == ComponentKind::fusion) is_other = !is_fusion && !type.empty();
  if (spec.kind == ComponentKind::encoder)
    is_other = is_fusion || (is_decoder && !is_encoder_directory(folder));
  if (spec.kind == ComponentKind::decoder) is_other = is_fusion || is_encoder_directory(folder);
  if (!is_other) return;
  const Error reason = Error(Status::format_unsupported)
                           .subject(folder)
                           .say("{} holds a model of type '{}', but the manifest says that it is of kind {}",
                                folder, excerpt(type, 40), component_kind_name(spec.kind));
  throw_load_failure(reason, folder, spec.id, 0);
}

FusionInput fusion_input_of(const ComponentSpec& spec, size_t index) {
  const FusionPart& part = spec.parts[index];
  if (part.native_dim == 0) throw_internal("a fusion's parts were not resolved");
  int64_t offset = 0;
  for (size_t i = 0; i < index; ++i) offset += spec.parts[i].width;
  return {.number = static_cast<int32_t>(index + 1),
          .id = part.component,
          .name = part.component,
          .source = "",
          .form = part.form,
          .native_dim = part.native_dim,
          .fusion_dim = part.width,
          .offset = offset,
          .max_tokens = 0,
          .has_weights = false};
}

std::shared_ptr<const Tokenizer> read_tokenizer(const ComponentSpec& spec, const WarmConfig& config) {
  const bool is_named = !spec.tokenizer_path.empty();
  const std::string given = resolve_path(config.weights_path, is_named ? spec.tokenizer_path : spec.path);
  return told(spec, given, [&]() -> std::shared_ptr<const Tokenizer> {
    const std::string path = directory_exists(given) ? find_tokenizer_file(given) : given;
    if (!is_named && !file_exists(path)) return nullptr;
    return load_tokenizer(path);
  });
}

uint64_t plan_projection(const ComponentSpec& spec, size_t part, const WarmConfig& config) {
  const FusionInput input = fusion_input_of(spec, part);
  const auto n_in = static_cast<uint64_t>(input.native_dim), n_out = static_cast<uint64_t>(input.fusion_dim);
  if (!spec.parts[part].projection.empty()) {
    const std::string path = resolve_path(config.weights_path, spec.parts[part].projection);
    told(spec, path, [&] { return SafetensorsFile(path); });
    return (n_in + 1) * n_out * sizeof(float);
  }
  const bool may_be_identity = input.form == EmbeddingForm::dense || input.form == EmbeddingForm::tokens;
  return may_be_identity && n_in == n_out ? 0 : n_in * ((n_out + 63) / 64) * sizeof(uint64_t);
}

std::vector<FusionProjection> read_projections(const ComponentSpec& spec, const WarmConfig& config) {
  std::vector<FusionProjection> projections;
  for (size_t i = 0; i < spec.parts.size(); ++i) {
    const FusionInput input = fusion_input_of(spec, i);
    if (spec.parts[i].projection.empty()) {
      projections.emplace_back(input);
      continue;
    }
    const std::string path = resolve_path(config.weights_path, spec.parts[i].projection);
    projections.push_back(told(spec, path, [&] { return FusionProjection(input, path); }));
  }
  return projections;
}

ReferenceFile read_reference(const ComponentSpec& spec, const WarmConfig& config) {
  if (spec.test.reference.empty()) return {};
  const std::string path = resolve_path(config.weights_path, spec.test.reference);
  return told(spec, path, [&] {
    const SafetensorsFile file(path);
    const TensorInfo* const output = file.find("output");
    const TensorInfo* const input = file.find("input");
    if (output == nullptr || output->n_bytes == 0)
      throw Error(Status::format_invalid).subject(path).say("{}: tensor 'output' is missing or empty", path);
    ReferenceFile reference;
    reference.output = read_values(spec, file, *output);
    if (input != nullptr) reference.input = read_values(spec, file, *input);
    return reference;
  });
}

Error validation_failure(const ComponentSpec& spec, const std::string& reason) {
  return Error(Status::model_validation_failed)
      .subject(spec.id)
      .field("model_id", spec.id)
      .field("reason", reason)
      .hint("obtain the right model file, or its own reference")
      .say("Model validation failed for {}: {}", spec.id, reason);
}

}  // namespace nanochat
