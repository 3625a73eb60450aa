// Builds a decoder: lays its weights out, tells the filler where each tensor goes, adds the tables.
#include <chrono>

#include "model/weight_fill.h"
#include "model/weight_layout.h"
#include "model/weight_source.h"

namespace nanochat {

namespace {

std::vector<WeightTarget> list_targets(const BuildRequest& request, Weights& weights) {
  std::vector<WeightTarget> targets;
  for (const TensorSlot& slot : request.slots) {
    WeightTarget target;
    target.tensor = &slot;
    switch (slot.kind) {
      case TensorKind::matrix:
        target.matrix = &matrix_of(weights, slot);
        target.first_row = first_matrix_row(*request.config, slot.role);
        target.used_rows = used_rows(*request.config, slot);
        break;
      case TensorKind::table:
        target.data = const_cast<void*>(table_of(weights, slot));
        target.table_dtype = weights.table_dtype;
        break;
      case TensorKind::vector:
        target.data = const_cast<float*>(vector_of(weights, slot));
        break;
      case TensorKind::scalars:
        target.keep = [&weights, &slot](int64_t i, float value) { scalar_of(weights, slot, i) = value; };
        break;
    }
    targets.push_back(std::move(target));
  }
  return targets;
}

}  // namespace

std::shared_ptr<const Model> ModelBuilder::build(std::shared_ptr<Device> device, const BuildRequest& request,
                                                 const Watch& watch) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<DType> stored(request.slots.size());
  for (size_t i = 0; i < stored.size(); ++i) stored[i] = request.source->dtype(i);
  ModelPlan plan = plan_model(*request.config, request.slots, stored, request.options);
  plan.file_bytes += request.source->scale_bytes();
  const uint64_t n_bytes =
      lay_out_weights(*request.config, request.slots, stored, request.options, nullptr).n_bytes;
  watch.check();

  struct OpenModel : Model {};  // Model's own constructor is private
  const auto model = std::make_shared<OpenModel>();
  Block block = allocate_weights(device->memory(), n_bytes);
  WeightLayout layout = lay_out_weights(*request.config, request.slots, stored, request.options, block.as());
  const std::vector<WeightTarget> targets = list_targets(request, layout.weights);
  const FillRequest fill{request.model_id,   targets,       request.source,
                         request.bytes_read, request.stage, request.options.checks};
  const Hash128 checksum = fill_weights(*device, fill, watch);
  fill_rope_tables(*device, *request.config, layout.weights, watch);
  device->synchronize();

  Model& out = *model;
  out.config_ = *request.config;
  out.plan_ = plan;
  out.device_ = std::move(device);
  out.blocks_.push_back(std::move(block));
  out.weights_ = std::move(layout.weights);
  out.weight_dtype_ = layout.weight_dtype;
  out.checksum_ = checksum;
  out.load_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return model;
}

}  // namespace nanochat
