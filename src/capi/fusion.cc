// The row that is fused, and FuseMoE.
#include "capi/arguments.h"
#include "capi/encoder_facts.h"
#include "capi/guard.h"
#include "infer/embed_computed.h"

using namespace nanochat;

namespace {

constexpr size_t kModelOptionsSize = 40;
constexpr size_t kPlanInfoSize = 64;
constexpr size_t kInputInfoSize = 72;
constexpr size_t kFusionInfoSize = 96;
constexpr size_t kUtilisationInfoSize = 40;

struct FusionOptions {
  ModelOptions model;
  Watch watch;
};

FusionOptions import(const nanochat_model_options* options) {
  const auto known = import_options(options, "nanochat_model_options", kModelOptionsSize);
  require_enum(known.weights, NANOCHAT_WEIGHTS_FP8, "nanochat_model_options.weights");
  require_zero(known.reserved, "nanochat_model_options.reserved");
  require_zero(known.pooler, "nanochat_model_options.pooler");
  require_zero(known.reserved2, "nanochat_model_options.reserved2");
  return {{.weight_dtype = static_cast<WeightDtype>(known.weights)},
          make_watch(known.progress, known.progress_user_data, known.cancel)};
}

FuseMoeConfig import_config(const char* config) {
  if (config == nullptr) return FuseMoeConfig::for_inference();
  return parse_fuse_moe_config(parse_json(config, "config"), "config");
}

nanochat_fusion* make_handle(const SharedCore& core, std::shared_ptr<const FuseMoe> fusion) {
  auto statistics = std::make_unique<ExpertStatistics>(fusion->config().n_experts);
  return new nanochat_fusion{core, std::move(fusion), std::move(statistics)};
}

std::span<float> require_room(const FusionProjection& projection, float* target, size_t capacity) {
  const auto needed = static_cast<size_t>(projection.input().fusion_dim);
  require_pointer(target, "target");
  if (capacity >= needed) return {target, needed};
  throw Error(Status::buffer_too_small)
      .subject("target")
      .say("target has room for {} floats, {} takes {}", capacity, projection.input().id, needed);
}

}  // namespace

extern "C" {

nanochat_status nanochat_fusion_input_describe(int32_t number, nanochat_fusion_input_info* info,
                                               nanochat_error** error) {
  return guard(error, [&] {
    require_info(info, "nanochat_fusion_input_info", kInputInfoSize);
    if (number < 1 || number > NANOCHAT_FUSION_INPUTS) {
      throw Error(Status::out_of_range)
          .subject("number")
          .say("number is {}, expected 1 to {}", number, int32_t{NANOCHAT_FUSION_INPUTS});
    }
    // The table's texts are literals.
    const FusionInput& input = fusion_inputs()[static_cast<size_t>(number - 1)];
    export_info(
        {0, input.id.data(), input.name.data(), input.source.data(), input.native_dim, input.fusion_dim,
         input.offset, input.max_tokens, static_cast<int32_t>(input.form), input.has_weights ? 1 : 0},
        info);
  });
}

nanochat_status nanochat_projection_create(const char* input, const char* path,
                                           nanochat_projection** out_projection, nanochat_error** error) {
  return guard(error, [&] {
    require_pointer(input, "input");
    require_pointer(out_projection, "out_projection");
    const FusionInput& known = fusion_input(input);
    *out_projection = path == nullptr ? new nanochat_projection{FusionProjection(known)}
                                      : new nanochat_projection{FusionProjection(known, import_path(path))};
  });
}

void nanochat_projection_free(nanochat_projection* projection) { delete projection; }

nanochat_status nanochat_projection_apply(const nanochat_projection* projection,
                                          const nanochat_embeddings* embeddings, size_t input, float* target,
                                          size_t capacity, nanochat_error** error) {
  return guard(error, [&] {
    require_pointer(projection, "projection");
    require_pointer(embeddings, "embeddings");
    const std::span<float> room = require_room(projection->projection, target, capacity);
    require_input(embeddings->embeddings, input);
    std::vector<float> part(room.size());  // so that a failure leaves the target alone
    project_embedding(projection->projection, embeddings->embeddings, input, part);
    std::copy(part.begin(), part.end(), room.begin());
  });
}

nanochat_status nanochat_projection_apply_values(const nanochat_projection* projection, const float* values,
                                                 size_t n_values, float* target, size_t capacity,
                                                 nanochat_error** error) {
  return guard(error, [&] {
    require_pointer(projection, "projection");
    const FusionProjection& known = projection->projection;
    const std::span<float> room = require_room(known, target, capacity);
    if (n_values > 0) require_pointer(values, "values");
    std::vector<float> part(room.size());
    if (known.input().form == EmbeddingForm::tokens) {
      known.project_tokens({values, n_values}, part);
    } else {
      known.project({values, n_values}, part);
    }
    std::copy(part.begin(), part.end(), room.begin());
  });
}

nanochat_status nanochat_fusion_plan(const nanochat_runtime* runtime, const char* path,
                                     const nanochat_model_options* options, nanochat_model_plan_info* info,
                                     nanochat_error** error) {
  return guard(error, [&] {
    require_handle(runtime, "runtime");
    require_info(info, "nanochat_model_plan_info", kPlanInfoSize);
    const FuseMoePlan plan = FuseMoe::plan(import_path(path), import(options).model);
    export_info({0, plan.file_bytes, plan.weight_bytes, 0, plan.working_bytes,
                 static_cast<uint64_t>(plan.n_parameters), 0, 0},
                info);
  });
}

nanochat_status nanochat_fusion_load(const nanochat_runtime* runtime, const char* path,
                                     const nanochat_model_options* options, nanochat_fusion** out_fusion,
                                     nanochat_error** error) {
  return guard(error, [&] {
    const SharedCore& core = require_handle(runtime, "runtime").core;
    require_pointer(out_fusion, "out_fusion");
    const FusionOptions known = import(options);
    *out_fusion = make_handle(core, FuseMoe::load(core->device, import_path(path), known.model, known.watch));
  });
}

nanochat_status nanochat_fusion_create_random(const nanochat_runtime* runtime, const char* config,
                                              uint64_t seed, const nanochat_model_options* options,
                                              nanochat_fusion** out_fusion, nanochat_error** error) {
  return guard(error, [&] {
    const SharedCore& core = require_handle(runtime, "runtime").core;
    require_pointer(out_fusion, "out_fusion");
    const FusionOptions known = import(options);
    *out_fusion = make_handle(
        core, FuseMoe::create_random(core->device, import_config(config), seed, known.model, known.watch));
  });
}

nanochat_status nanochat_fusion_save(const nanochat_fusion* fusion, const char* path,
                                     const nanochat_model_options* options, nanochat_error** error) {
  return guard(error, [&] {
    const FuseMoe& saved = *require_handle(fusion, "fusion").fusion;
    const FusionOptions known = import(options);
    if (known.model.weight_dtype != WeightDtype::as_stored &&
        known.model.weight_dtype != saved.weight_dtype()) {
      throw Error(Status::unsupported)
          .subject("nanochat_model_options.weights")
          .say("weights is {}, but the fusion holds {} and is saved as it is",
               weights_name(known.model.weight_dtype), weights_name(saved.weight_dtype()))
          .hint("load the fusion with the wanted weights, then save it");
    }
    saved.save(import_path(path), known.watch);
  });
}

void nanochat_fusion_free(nanochat_fusion* fusion) { delete fusion; }

nanochat_status nanochat_fusion_describe(const nanochat_fusion* fusion, nanochat_fusion_info* info,
                                         nanochat_error** error) {
  return guard(error, [&] {
    const FuseMoe& described = *require_handle(fusion, "fusion").fusion;
    require_info(info, "nanochat_fusion_info", kFusionInfoSize);
    const FuseMoeConfig& config = described.config();
    const FuseMoePlan& plan = described.plan();
    export_info(
        {0, static_cast<uint64_t>(plan.n_parameters), plan.weight_bytes, config.n_experts, config.top_k,
         config.input_dim, config.expert_hidden_dim, config.output_dim, config.temperature,
         config.laplace_alpha, described.load_seconds(), exported_weights(described.weight_dtype()), 0},
        info);
  });
}

nanochat_status nanochat_fuse(const nanochat_fusion* fusion, const float* rows, size_t n_rows, size_t width,
                              const nanochat_cancel* cancel, nanochat_embeddings** out_embeddings,
                              nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_fusion& parent = require_handle(fusion, "fusion");
    require_pointer(out_embeddings, "out_embeddings");
    if (n_rows > 0) require_pointer(rows, "rows");
    const FuseMoe& fuse = *parent.fusion;
    constexpr size_t kMost = size_t{1} << 40;
    if (width != static_cast<size_t>(fuse.config().input_dim) || n_rows > kMost) {
      throw Error(Status::invalid_argument)
          .subject("rows")
          .say("{} rows of {} floats, the fusion takes rows of {}", n_rows, width, fuse.config().input_dim);
    }
    const FuseMoeInput input{
        {rows, n_rows * width}, static_cast<int64_t>(n_rows), static_cast<int64_t>(width)};
    auto handle = std::make_unique<nanochat_embeddings>(
        nanochat_embeddings{embed_fused(fuse, input, make_watch(nullptr, nullptr, cancel))});
    parent.statistics->add(handle->embeddings.routing, *parent.core->log);
    *out_embeddings = handle.release();
  });
}

nanochat_status nanochat_fusion_utilisation(const nanochat_fusion* fusion, nanochat_utilisation_info* info,
                                            uint64_t* n_selected, double* loads, size_t capacity,
                                            nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_fusion& asked = require_handle(fusion, "fusion");
    require_info(info, "nanochat_utilisation_info", kUtilisationInfoSize);
    const UtilisationReport report = asked.statistics->report();
    const size_t n = report.experts.size();
    if ((n_selected != nullptr || loads != nullptr) && capacity < n) {
      throw Error(Status::buffer_too_small)
          .subject("capacity")
          .say("there is room for {} experts, the fusion has {}", capacity, n);
    }
    for (size_t i = 0; i < n && n_selected != nullptr; ++i) n_selected[i] = report.experts[i].n_selected;
    for (size_t i = 0; i < n && loads != nullptr; ++i) loads[i] = report.experts[i].load;
    export_info({0, report.n_rows, report.n_fallback, static_cast<int64_t>(n), report.overloaded_expert},
                info);
  });
}

nanochat_status nanochat_fusion_reset_utilisation(const nanochat_fusion* fusion, nanochat_error** error) {
  return guard(error, [&] { require_handle(fusion, "fusion").statistics->reset(); });
}

}  // extern "C"
