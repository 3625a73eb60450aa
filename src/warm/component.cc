#include "warm/component.h"

#include <algorithm>

#include "base/error.h"
#include "encoder/temporal_embedder.h"
#include "warm/component_files.h"

namespace nanochat {

namespace {

void refuse_spec(const ComponentSpec& spec, std::string_view field, const std::string& reason) {
  throw Error(Status::config_invalid)
      .subject(spec.id)
      .field("field", field)
      .field("reason", reason)
      .say("component '{}': {}", spec.id, reason);
}

void check_most_tokens(const ComponentSpec& spec, int64_t most) {
  if (spec.max_tokens <= most) return;
  refuse_spec(spec, "max_tokens",
              format_text("max_tokens is {}, the model takes {} at most", spec.max_tokens, most));
}

ComponentPlan plan_decoder(const ComponentSpec& spec, const WarmConfig& config) {
  const std::string folder = weights_folder(spec, config);
  refuse_other_kind(spec, folder);
  const ModelOptions options = model_options(spec, config);
  const ModelPlan plan = Model::plan(folder, options);
  const ModelConfig model = Model::read_config(folder, options);
  if (spec.pooling == TextPooling::cls || spec.pooling == TextPooling::max ||
      spec.pooling == TextPooling::pooler)
    refuse_spec(spec, "pooling", "a decoder's pooling is mean, last or none");
  check_most_tokens(spec, model.sequence_len);
  return {.file_bytes = plan.file_bytes,
          .model_bytes = plan.weight_bytes,
          .working_bytes = plan.working_bytes,
          .n_parameters = plan.n_parameters,
          .dimension = model.vocab_size,
          .form = EmbeddingForm::dense};
}

EmbeddingForm form_of(const EncoderConfig& model, TextPooling pooling) {
  if (model.head == EncoderHead::sparse) return EmbeddingForm::sparse;
  const TextPooling used = pooling == TextPooling::as_configured ? model.pooling : pooling;
  return model.text && used == TextPooling::none ? EmbeddingForm::tokens : EmbeddingForm::dense;
}

void check_text_options(const ComponentSpec& spec, const EncoderConfig& model) {
  const EmbeddingForm form = form_of(model, spec.pooling);
  if (form == EmbeddingForm::sparse && spec.pooling != TextPooling::as_configured)
    refuse_spec(spec, "pooling", "a sparse model's vectors have no pooling to choose");
  if (form == EmbeddingForm::sparse && spec.normalization != Normalization::as_configured)
    refuse_spec(spec, "normalize", "a sparse model's vectors have no normalisation to choose");
  if (form != EmbeddingForm::tokens && spec.role != TextRole::none)
    refuse_spec(spec, "role", "a query or document has a row for each token, but the model gives one vector");
  if (model.text) check_most_tokens(spec, model.text->max_rows);
}

ComponentPlan plan_encoder(const ComponentSpec& spec, const WarmConfig& config) {
  const std::string folder = weights_folder(spec, config);
  refuse_other_kind(spec, folder);
  const EncoderOptions options = encoder_options(spec, config);
  const EncoderPlan plan = Encoder::plan(folder, options);
  const EncoderConfig model = Encoder::read_config(folder, options);
  check_text_options(spec, model);
  return {.file_bytes = plan.file_bytes,
          .model_bytes = plan.weight_bytes,
          .working_bytes = plan.working_bytes,
          .n_parameters = plan.n_parameters,
          .dimension = model.text ? text_width(model, spec.pooling) : image_width(model),
          .form = form_of(model, spec.pooling)};
}

ComponentPlan plan_fusion(const ComponentSpec& spec, const WarmConfig& config) {
  const std::string folder = weights_folder(spec, config);
  refuse_other_kind(spec, folder);
  const ModelOptions options = model_options(spec, config);
  const FuseMoePlan plan = FuseMoe::plan(folder, options);
  const FuseMoeConfig model = FuseMoe::read_config(folder, options);
  int64_t width = 0;
  uint64_t host_bytes = 0;
  for (size_t i = 0; i < spec.parts.size(); ++i) {
    width += spec.parts[i].width;
    host_bytes += plan_projection(spec, i, config);
  }
  if (width != model.input_dim) {
    refuse_spec(
        spec, "inputs",
        format_text("its inputs are {} values wide together, the layer takes {}", width, model.input_dim));
  }
  return {.file_bytes = plan.file_bytes,
          .model_bytes = plan.weight_bytes,
          .working_bytes = plan.working_bytes,
          .host_bytes = host_bytes,
          .n_parameters = plan.n_parameters,
          .dimension = model.output_dim,
          .form = EmbeddingForm::dense};
}

ComponentPlan plan_kind(const ComponentSpec& spec, const WarmConfig& config) {
  switch (spec.kind) {
    case ComponentKind::decoder:
      return plan_decoder(spec, config);
    case ComponentKind::encoder:
      return plan_encoder(spec, config);
    case ComponentKind::fusion:
      return plan_fusion(spec, config);
    case ComponentKind::hyperdimensional:
      return {.dimension = Hypervector::kBits, .form = EmbeddingForm::bits};
    default:
      return {.dimension = kTemporalWidth};
  }
}

}  // namespace

ComponentPlan Component::plan(const ComponentSpec& spec, const WarmConfig& config) {
  const ComponentPlan plan = plan_kind(spec, config);
  if (spec.dimension == 0 || spec.dimension == plan.dimension) return plan;
  throw Error(Status::model_dimension_mismatch)
      .subject(spec.id)
      .field("model_id", spec.id)
      .field("expected", spec.dimension)
      .field("actual", plan.dimension)
      .hint("use the model version that the manifest means, or correct its dimension")
      .say("Model dimension mismatch for {}: expected {}, got {}", spec.id, spec.dimension, plan.dimension);
}

void resolve_fusion_parts(std::span<const ComponentSpec> components, std::span<const ComponentPlan> plans,
                          ComponentSpec& fusion) {
  for (FusionPart& part : fusion.parts) {
    const auto found = std::ranges::find(components, part.component, &ComponentSpec::id);
    if (found == components.end()) {
      throw Error(Status::model_not_registered)
          .subject(fusion.id)
          .field("model_id", part.component)
          .say("component '{}' needs '{}', which is no component", fusion.id, part.component);
    }
    if (found->kind == ComponentKind::decoder || found->kind == ComponentKind::fusion) {
      refuse_spec(fusion, "inputs",
                  format_text("input '{}' is of kind {}, expected an encoder or a computed embedder",
                              part.component, component_kind_name(found->kind)));
    }
    const ComponentPlan& plan = plans[static_cast<size_t>(found - components.begin())];
    part.form = plan.form;
    part.native_dim = plan.dimension;
  }
}

Component::~Component() {
  if (locked_bytes_ > 0) device_->unlock(resident_.data(), resident_.size());
}

// In pieces: the hash of their hashes.
Hash128 Component::hash_resident() const {
  constexpr size_t kPiece = size_t{1} << 20;
  const size_t round = device_->is_host() ? 64 : 1024;  // pieces between which others may use the device
  const size_t n = (resident_.size() + kPiece - 1) / kPiece;
  std::vector<Hash128> hashes(n);
  for (size_t first = 0; first < n; first += round) {
    const size_t end = std::min(n, first + round);
    const auto bytes =
        resident_.subspan(first * kPiece, std::min(resident_.size(), end * kPiece) - first * kPiece);
    device_->kernels().hash_pieces(*device_, bytes.data(), std::ssize(bytes), kPiece,
                                   std::span(hashes).subspan(first, end - first));
  }
  return hash128(std::as_bytes(std::span(hashes)));
}

}  // namespace nanochat
