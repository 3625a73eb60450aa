#include "model/model.h"

#include <optional>

#include "base/json.h"
#include "capi/arguments.h"
#include "capi/encoder_facts.h"
#include "capi/guard.h"
#include "capi/model_kind.h"
#include "encoder/image_settings.h"
#include "model/directory_source.h"

using namespace nanochat;

namespace {

constexpr size_t kModelOptionsSize = 40;
constexpr size_t kPlanInfoSize = 64;
constexpr size_t kModelInfoSize = 112;

nanochat_model_options import(const nanochat_model_options* options) {
  const auto known = import_options(options, "nanochat_model_options", kModelOptionsSize);
  require_enum(known.weights, NANOCHAT_WEIGHTS_FP8, "nanochat_model_options.weights");
  require_zero(known.reserved, "nanochat_model_options.reserved");
  require_zero(known.reserved2, "nanochat_model_options.reserved2");
  return known;
}

ModelOptions model_options(const nanochat_model_options& known) {
  if (known.pooler != 0) {
    throw Error(Status::invalid_argument)
        .subject("nanochat_model_options.pooler")
        .say("nanochat_model_options.pooler is {}, but the model is a decoder and has none", known.pooler);
  }
  return {.weight_dtype = static_cast<WeightDtype>(known.weights)};
}

EncoderOptions encoder_options(const nanochat_model_options& known) {
  return {.weight_dtype = static_cast<WeightDtype>(known.weights),
          .pooler = known.pooler == 0 ? PoolerWeights::absent : PoolerWeights::present};
}

Watch model_watch(const nanochat_model_options& known) {
  return make_watch(known.progress, known.progress_user_data, known.cancel);
}

// Of `shape`: a name, or a config.json as text.
std::optional<EncoderConfig> import_encoder_shape(std::string_view shape) {
  if (!shape.starts_with('{')) {
    if (is_encoder_shape(shape)) return encoder_shape(shape);
    return std::nullopt;
  }
  const Json document = parse_json(shape, "shape");
  if (!is_encoder_config(document)) return std::nullopt;
  return parse_encoder_config(document, "shape");
}

ModelConfig import_shape(std::string_view shape) {
  return shape.starts_with('{') ? parse_model_config(parse_json(shape, "shape"), "shape")
                                : nanochat_shape(shape);
}

nanochat_model_plan_info plan_decoder(const std::string& path, const nanochat_model_options& known) {
  const ModelPlan plan = Model::plan(path, model_options(known));
  return {0,
          plan.file_bytes,
          plan.weight_bytes,
          plan.kv_bytes_per_token,
          plan.working_bytes,
          static_cast<uint64_t>(plan.n_parameters),
          plan.bytes_per_decoded_token,
          plan.flops_per_decoded_token};
}

nanochat_model_plan_info plan_encoder(const std::string& path, const nanochat_model_options& known) {
  const EncoderPlan plan = Encoder::plan(path, encoder_options(known));
  return {0,
          plan.file_bytes,
          plan.weight_bytes,
          0,
          plan.working_bytes,
          static_cast<uint64_t>(plan.n_parameters),
          0,
          0};
}

nanochat_model* load_encoder(const SharedCore& core, const std::string& path,
                             const nanochat_model_options& known) {
  auto encoder = Encoder::load(core->device, path, encoder_options(known), model_watch(known));
  const std::atomic<uint64_t> n_read{0};
  const ImagePreprocessConfig images = told_as_load_failure(
      path, model_id_of(path), n_read, [&] { return image_preprocessing(path, encoder->config()); });
  return new nanochat_model{core, nullptr, std::move(encoder), images};
}

nanochat_model* make_random_encoder(const SharedCore& core, const EncoderConfig& config, uint64_t seed,
                                    const nanochat_model_options& known) {
  auto encoder =
      Encoder::create_random(core->device, config, seed, encoder_options(known), model_watch(known));
  return new nanochat_model{core, nullptr, std::move(encoder), image_preprocessing("", config)};
}

nanochat_model_info make_info(const Model& model) {
  const ModelConfig& config = model.config();
  const ModelPlan& plan = model.plan();
  nanochat_model_info info{};
  info.parameters = static_cast<uint64_t>(plan.n_parameters);
  info.weight_bytes = plan.weight_bytes;
  info.kv_bytes_per_token = plan.kv_bytes_per_token;
  info.bytes_per_decoded_token = plan.bytes_per_decoded_token;
  info.flops_per_decoded_token = plan.flops_per_decoded_token;
  info.sequence_len = config.sequence_len;
  info.vocab_size = config.vocab_size;
  info.n_layer = config.n_layer;
  info.n_head = config.n_head;
  info.n_kv_head = config.n_kv_head;
  info.n_embd = config.n_embd;
  info.load_seconds = model.load_seconds();
  info.bos_token = config.bos_token;
  info.weights = exported_weights(model.weight_dtype());
  info.kind = NANOCHAT_MODEL_DECODER;
  info.pooling = NANOCHAT_POOLING_MEAN;
  info.embedding_width = config.n_embd;
  info.max_tokens = config.sequence_len;
  info.flops_per_token = plan.flops_per_decoded_token;
  info.is_normalized = 1;
  return info;
}

std::string describe_json(const Model& model) {
  const nanochat_model_info info = make_info(model);
  Json json;
  json["schema"] = "nanochat.model.v1";
  json["kind"] = "decoder";
  json["architecture"] = model.config().architecture;
  json["device"] = model.device().name();
  json["weights"] = weights_name(model.weight_dtype());
  json["parameters"] = info.parameters;
  json["weight_bytes"] = info.weight_bytes;
  json["kv_bytes_per_token"] = info.kv_bytes_per_token;
  json["bytes_per_decoded_token"] = info.bytes_per_decoded_token;
  json["flops_per_decoded_token"] = info.flops_per_decoded_token;
  json["load_seconds"] = info.load_seconds;
  json["checksum_xxh3_128"] = model.checksum().hex();
  json["config"] = model_config_json(model.config());
  return write_json(json, 2);
}

}  // namespace

extern "C" {

void nanochat_model_options_init(nanochat_model_options* options, size_t size) {
  init_options(options, size);
}

nanochat_status nanochat_model_plan(const nanochat_runtime* runtime, const char* path,
                                    const nanochat_model_options* options, nanochat_model_plan_info* info,
                                    nanochat_error** error) {
  return guard(error, [&] {
    require_handle(runtime, "runtime");
    require_info(info, "nanochat_model_plan_info", kPlanInfoSize);
    const std::string folder = import_path(path);
    const nanochat_model_options known = import(options);
    export_info(is_encoder_directory(folder) ? plan_encoder(folder, known) : plan_decoder(folder, known),
                info);
  });
}

nanochat_status nanochat_model_load(const nanochat_runtime* runtime, const char* path,
                                    const nanochat_model_options* options, nanochat_model** out_model,
                                    nanochat_error** error) {
  return guard(error, [&] {
    const SharedCore& core = require_handle(runtime, "runtime").core;
    require_pointer(out_model, "out_model");
    const nanochat_model_options known = import(options);
    const std::string folder = import_path(path);
    if (is_encoder_directory(folder)) {
      *out_model = load_encoder(core, folder, known);
      return;
    }
    auto model = Model::load(core->device, folder, model_options(known), model_watch(known));
    *out_model = new nanochat_model{core, std::move(model)};
  });
}

nanochat_status nanochat_model_create_random(const nanochat_runtime* runtime, const char* shape,
                                             uint64_t seed, const nanochat_model_options* options,
                                             nanochat_model** out_model, nanochat_error** error) {
  return guard(error, [&] {
    const SharedCore& core = require_handle(runtime, "runtime").core;
    require_pointer(out_model, "out_model");
    const nanochat_model_options known = import(options);
    require_pointer(shape, "shape");
    if (const auto config = import_encoder_shape(shape)) {
      *out_model = make_random_encoder(core, *config, seed, known);
      return;
    }
    auto model = Model::create_random(core->device, import_shape(shape), seed, model_options(known),
                                      model_watch(known));
    *out_model = new nanochat_model{core, std::move(model)};
  });
}

void nanochat_model_free(nanochat_model* model) { delete model; }

nanochat_status nanochat_model_describe(const nanochat_model* model, nanochat_model_info* info,
                                        nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_model& described = require_handle(model, "model");
    require_info(info, "nanochat_model_info", kModelInfoSize);
    export_info(described.encoder ? make_info(*described.encoder) : make_info(*described.model), info);
  });
}

nanochat_status nanochat_model_quantize(const nanochat_model* model, const nanochat_model_options* options,
                                        nanochat_model** out_model, nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_model& source = require_handle(model, "model");
    const Model& whole = *require_decoder(source, "nanochat_model_quantize()");
    require_pointer(out_model, "out_model");
    const nanochat_model_options known = import(options);
    if (known.weights != NANOCHAT_WEIGHTS_AS_STORED && known.weights != NANOCHAT_WEIGHTS_INT8) {
      throw Error(Status::invalid_argument)
          .subject("nanochat_model_options.weights")
          .say("nanochat_model_options.weights is {}, expected NANOCHAT_WEIGHTS_INT8 ({}) or 0",
               known.weights, int32_t{NANOCHAT_WEIGHTS_INT8});
    }
    auto quantized = whole.quantize(model_watch(known));
    *out_model = new nanochat_model{source.core, std::move(quantized)};
  });
}

nanochat_status nanochat_model_to_json(const nanochat_model* model, nanochat_text** out_text,
                                       nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_model& described = require_handle(model, "model");
    require_pointer(out_text, "out_text");
    *out_text =
        make_text(described.encoder ? describe_json(*described.encoder) : describe_json(*described.model));
  });
}

nanochat_status nanochat_model_save(const nanochat_model* model, const char* path,
                                    const nanochat_model_options* options, nanochat_error** error) {
  return guard(error, [&] {
    const Model& saved = *require_decoder(require_handle(model, "model"), "nanochat_model_save()");
    const nanochat_model_options known = import(options);
    if (known.weights != NANOCHAT_WEIGHTS_AS_STORED &&
        known.weights != exported_weights(saved.weight_dtype())) {
      throw Error(Status::unsupported)
          .subject("nanochat_model_options.weights")
          .say("weights is {}, but the model holds {} and is saved as it is", known.weights,
               exported_weights(saved.weight_dtype()))
          .hint("load the model with the wanted weights, then save it");
    }
    saved.save(import_path(path), model_watch(known));
  });
}

}  // extern "C"
