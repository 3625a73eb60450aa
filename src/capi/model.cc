#include "model/model.h"

#include "base/json.h"
#include "capi/arguments.h"
#include "capi/guard.h"

using namespace nanochat;

namespace {

constexpr size_t kModelOptionsSize = 40;
constexpr size_t kPlanInfoSize = 64;
constexpr size_t kModelInfoSize = 112;

nanochat_model_options import(const nanochat_model_options* options) {
  const auto known = import_options(options, "nanochat_model_options", kModelOptionsSize);
  require_enum(known.weights, NANOCHAT_WEIGHTS_INT8, "nanochat_model_options.weights");
  require_zero(known.reserved, "nanochat_model_options.reserved");
  return known;
}

ModelOptions model_options(const nanochat_model_options& known) {
  return {.weight_dtype = static_cast<WeightDtype>(known.weights)};
}

Watch model_watch(const nanochat_model_options& known) {
  return make_watch(known.progress, known.progress_user_data, known.cancel);
}

ModelConfig import_shape(const char* shape) {
  require_pointer(shape, "shape");
  const std::string_view text = shape;
  return text.starts_with('{') ? parse_model_config(parse_json(text, "shape"), "shape")
                               : nanochat_shape(text);
}

int32_t exported_weights(const Model& model) {
  switch (model.weight_dtype()) {
    case WeightDtype::i8:
      return NANOCHAT_WEIGHTS_INT8;
    case WeightDtype::bf16:
      return NANOCHAT_WEIGHTS_BF16;
    default:
      return NANOCHAT_WEIGHTS_F32;
  }
}

const char* weights_name(int32_t weights) {
  if (weights == NANOCHAT_WEIGHTS_INT8) return "int8";
  return weights == NANOCHAT_WEIGHTS_BF16 ? "bf16" : "f32";
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
  info.weights = exported_weights(model);
  return info;
}

std::string describe_json(const Model& model) {
  const nanochat_model_info info = make_info(model);
  Json json;
  json["schema"] = "nanochat.model.v1";
  json["architecture"] = model.config().architecture;
  json["device"] = model.device().name();
  json["weights"] = weights_name(info.weights);
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
    const ModelPlan plan = Model::plan(import_path(path), model_options(import(options)));
    export_info({0, plan.file_bytes, plan.weight_bytes, plan.kv_bytes_per_token, plan.working_bytes,
                 static_cast<uint64_t>(plan.n_parameters), plan.bytes_per_decoded_token,
                 plan.flops_per_decoded_token},
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
    auto model = Model::load(core->device, import_path(path), model_options(known), model_watch(known));
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
    auto model = Model::create_random(core->device, import_shape(shape), seed, model_options(known),
                                      model_watch(known));
    *out_model = new nanochat_model{core, std::move(model)};
  });
}

void nanochat_model_free(nanochat_model* model) { delete model; }

nanochat_status nanochat_model_describe(const nanochat_model* model, nanochat_model_info* info,
                                        nanochat_error** error) {
  return guard(error, [&] {
    const Model& described = *require_handle(model, "model").model;
    require_info(info, "nanochat_model_info", kModelInfoSize);
    export_info(make_info(described), info);
  });
}

nanochat_status nanochat_model_quantize(const nanochat_model* model, const nanochat_model_options* options,
                                        nanochat_model** out_model, nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_model& source = require_handle(model, "model");
    require_pointer(out_model, "out_model");
    const nanochat_model_options known = import(options);
    if (known.weights != NANOCHAT_WEIGHTS_AS_STORED && known.weights != NANOCHAT_WEIGHTS_INT8) {
      throw Error(Status::invalid_argument)
          .subject("nanochat_model_options.weights")
          .say("nanochat_model_options.weights is {}, expected NANOCHAT_WEIGHTS_INT8 ({}) or 0",
               known.weights, int32_t{NANOCHAT_WEIGHTS_INT8});
    }
    auto quantized = source.model->quantize(model_watch(known));
    *out_model = new nanochat_model{source.core, std::move(quantized)};
  });
}

nanochat_status nanochat_model_to_json(const nanochat_model* model, nanochat_text** out_text,
                                       nanochat_error** error) {
  return guard(error, [&] {
    const Model& described = *require_handle(model, "model").model;
    require_pointer(out_text, "out_text");
    *out_text = make_text(describe_json(described));
  });
}

nanochat_status nanochat_model_save(const nanochat_model* model, const char* path,
                                    const nanochat_model_options* options, nanochat_error** error) {
  return guard(error, [&] {
    const Model& saved = *require_handle(model, "model").model;
    const nanochat_model_options known = import(options);
    if (known.weights != NANOCHAT_WEIGHTS_AS_STORED && known.weights != exported_weights(saved)) {
      throw Error(Status::unsupported)
          .subject("nanochat_model_options.weights")
          .say("weights is {}, but the model holds {} and is saved as it is", known.weights,
               exported_weights(saved))
          .hint("load the model with the wanted weights, then save it");
    }
    saved.save(import_path(path), model_watch(known));
  });
}

}  // extern "C"
