// FuseMoE::plan, load and create_random: a directory is opened and checked against its configuration, or made
// up.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/excerpt.h"
#include "encoder/fuse_moe_weights.h"
#include "io/model_directory.h"
#include "model/directory_source.h"
#include "model/random_source.h"

namespace nanochat {

namespace {

// A directory whose every tensor has the name, dtype and shape that its configuration asks for.
class OpenedLayer {
 public:
  OpenedLayer(const std::string& path, const std::string& model_id) : directory_(path) {
    config_ = parse_fuse_moe_config(directory_.config(), directory_.config_path());
    slots_ = fuse_moe_slots(config_);
    for (const FuseMoeSlot& slot : slots_) {
      wanted_.push_back({.directory = &directory_, .tensor = &slot, .may_be_int8 = true, .may_be_fp8 = true});
    }
    found_ = find_tensors(wanted_, model_id);
    refuse_unknown_tensors();
  }
  OpenedLayer(const OpenedLayer&) = delete;
  OpenedLayer& operator=(const OpenedLayer&) = delete;

  const FuseMoeConfig& config() const { return config_; }
  std::span<const FuseMoeSlot> slots() const { return slots_; }
  std::span<const WantedTensor> wanted() const { return wanted_; }
  const FoundTensors& found() const { return found_; }

 private:
  void refuse_unknown_tensors() const {
    std::vector<std::string> known;
    for (size_t i = 0; i < slots_.size(); ++i) {
      known.push_back(slots_[i].name);
      if (found_.scales[i].file != nullptr) known.push_back(scale_name(slots_[i]));
    }
    std::sort(known.begin(), known.end());
    for (const std::string& name : directory_.names()) {
      if (std::binary_search(known.begin(), known.end(), name)) continue;
      const std::string& path = directory_.find(name).file->path();
      throw Error(Status::format_unsupported)
          .subject(path)
          .say("{}: tensor '{}' has no place in a FuseMoE layer of {} experts", path, excerpt(name),
               config_.n_experts);
    }
  }

  ModelDirectory directory_;
  FuseMoeConfig config_;
  std::vector<FuseMoeSlot> slots_;
  std::vector<WantedTensor> wanted_;
  FoundTensors found_;
};

// Matrices after Xavier: a uniform distribution's deviation is its limit / sqrt(3).
std::vector<RandomTensor> random_tensors(std::span<const FuseMoeSlot> slots) {
  std::vector<RandomTensor> tensors;
  for (const FuseMoeSlot& slot : slots) {
    const bool is_matrix = slot.kind == TensorKind::matrix;
    const double mean = slot.part == FuseMoePart::norm_weight ? 1.0 : 0.0;
    const auto fans = static_cast<double>(slot.n_rows() + slot.width());
    const double limit = is_matrix ? std::sqrt(6.0 / fans) : 0.0;
    tensors.push_back({&slot, slot.n_rows(), mean, limit / std::numbers::sqrt3});
  }
  return tensors;
}

}  // namespace

FuseMoePlan FuseMoe::plan(const FuseMoeConfig& config, const ModelOptions& options) {
  config.validate();
  const std::vector<FuseMoeSlot> slots = fuse_moe_slots(config);
  return plan_fuse_moe(config, slots, std::vector<DType>(slots.size(), DType::f32), options.weight_dtype);
}

FuseMoePlan FuseMoe::plan(const std::string& path, const ModelOptions& options) {
  const std::string model_id = model_id_of(path, options.model_id);
  const std::atomic<uint64_t> bytes_read{0};
  return told_as_load_failure(path, model_id, bytes_read, [&] {
    const OpenedLayer opened(path, model_id);
    FuseMoePlan plan =
        plan_fuse_moe(opened.config(), opened.slots(), opened.found().stored, options.weight_dtype);
    plan.file_bytes += opened.found().scale_bytes();
    return plan;
  });
}

FuseMoeConfig FuseMoe::read_config(const std::string& path, const ModelOptions& options) {
  const std::string model_id = model_id_of(path, options.model_id);
  const std::atomic<uint64_t> bytes_read{0};
  return told_as_load_failure(path, model_id, bytes_read,
                              [&] { return OpenedLayer(path, model_id).config(); });
}

std::shared_ptr<const FuseMoe> FuseMoe::load(std::shared_ptr<Device> device, const std::string& path,
                                             const ModelOptions& options, const Watch& watch) {
  const std::string model_id = model_id_of(path, options.model_id);
  std::atomic<uint64_t> bytes_read{0};
  return told_as_load_failure(path, model_id, bytes_read, [&] {
    const OpenedLayer opened(path, model_id);
    const DirectorySource source(opened.wanted(), opened.found(), model_id);
    const FuseMoeBuild request{model_id,    &opened.config(), opened.slots(), &source, options.weight_dtype,
                               &bytes_read, options.checks};
    return FuseMoeBuilder::build(std::move(device), request, watch);
  });
}

std::shared_ptr<const FuseMoe> FuseMoe::create_random(std::shared_ptr<Device> device,
                                                      const FuseMoeConfig& config, uint64_t seed,
                                                      const ModelOptions& options, const Watch& watch) {
  config.validate();
  const std::vector<FuseMoeSlot> slots = fuse_moe_slots(config);
  const RandomSource source(random_tensors(slots), seed, DType::f32);
  std::atomic<uint64_t> bytes_read{0};
  const FuseMoeBuild request{"random", &config, slots, &source, options.weight_dtype, &bytes_read};
  return FuseMoeBuilder::build(std::move(device), request, watch);
}

}  // namespace nanochat
