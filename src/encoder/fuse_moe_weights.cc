#include "encoder/fuse_moe_weights.h"

#include <chrono>

namespace nanochat {

namespace {

std::vector<WeightTarget> list_targets(std::span<const FuseMoeSlot> slots, FuseMoeWeights& weights) {
  std::vector<WeightTarget> targets;
  for (const FuseMoeSlot& slot : slots) {
    WeightTarget target;
    target.tensor = &slot;
    if (slot.kind == TensorKind::matrix) {
      target.matrix = &matrix_of(weights, slot);
      target.used_rows = slot.n_rows();
    } else {
      target.data = const_cast<float*>(vector_of(weights, slot));
    }
    targets.push_back(std::move(target));
  }
  return targets;
}

WeightDtype weight_dtype_of(DType dtype) {
  if (dtype == DType::i8) return WeightDtype::i8;
  if (dtype == DType::f8_e4m3) return WeightDtype::f8;
  return dtype == DType::f32 ? WeightDtype::f32 : WeightDtype::bf16;
}

}  // namespace

std::shared_ptr<const FuseMoe> FuseMoeBuilder::build(std::shared_ptr<Device> device,
                                                     const FuseMoeBuild& request, const Watch& watch) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<DType> stored(request.slots.size());
  for (size_t i = 0; i < stored.size(); ++i) stored[i] = request.source->dtype(i);
  const FuseMoeConfig& config = *request.config;
  const auto lay_out = [&](void* base) {
    return lay_out_fuse_moe(config, request.slots, stored, request.weight_dtype, base);
  };
  watch.check();

  struct OpenFuseMoe : FuseMoe {};  // FuseMoe's own constructor is private
  const auto model = std::make_shared<OpenFuseMoe>();
  FuseMoe& out = *model;
  out.config_ = config;
  out.plan_ = plan_fuse_moe(config, request.slots, stored, request.weight_dtype);
  out.plan_.file_bytes += request.source->scale_bytes();
  out.block_ = allocate_weights(device->memory(), lay_out(nullptr).n_bytes);
  out.weights_ = lay_out(out.block_.as()).weights;
  const std::vector<WeightTarget> targets = list_targets(request.slots, out.weights_);
  const FillRequest filling{request.model_id,   targets, request.source,
                            request.bytes_read, "load",  request.checks};
  out.checksum_ = fill_weights(*device, filling, watch);
  device->synchronize();
  out.weight_dtype_ = weight_dtype_of(out.weights_.experts.front().fc1.dtype);
  out.device_ = std::move(device);
  out.load_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return model;
}

}  // namespace nanochat
