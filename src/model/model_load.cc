// Model::load and Model::plan: a directory is opened and checked against its configuration.
#include <algorithm>

#include "base/error.h"
#include "base/excerpt.h"
#include "io/model_directory.h"
#include "model/directory_source.h"
#include "model/weight_layout.h"
#include "model/weight_source.h"

namespace nanochat {

namespace {

// A directory whose every tensor has the name, dtype and shape that its configuration asks for.
struct CheckedDirectory {
  ModelDirectory directory;
  ModelConfig config;
  std::vector<TensorSlot> slots;
  std::vector<WantedTensor> wanted;  // of slots[i]
  FoundTensors found;
};

ModelConfig open_config(const ModelDirectory& directory) {
  std::vector<NamedShape> tensors;
  for (std::string& name : directory.names()) {
    const Shape shape = directory.find(name).info->shape;
    tensors.push_back({std::move(name), shape});
  }
  return parse_model_config(directory.config(), directory.config_path(), tensors);
}

void refuse_unknown_tensors(const ModelDirectory& directory, const ModelConfig& config,
                            std::span<const TensorSlot> slots) {
  std::vector<std::string> known;
  for (const TensorSlot& slot : slots) {
    known.push_back(slot.name);
    if (slot.kind == TensorKind::matrix) known.push_back(scale_name(slot));
  }
  std::sort(known.begin(), known.end());
  for (const std::string& name : directory.names()) {
    if (std::binary_search(known.begin(), known.end(), name) || is_ignored_tensor(config, name)) continue;
    const std::string& path = directory.find(name).file->path();
    throw Error(Status::format_unsupported)
        .subject(path)
        .say("{}: tensor '{}' has no place in a {} model of {} layers", path, excerpt(name),
             config.architecture, config.n_layer);
  }
}

// The parts point at each other, so the whole stays where it is.
std::unique_ptr<const CheckedDirectory> open_directory(const std::string& path, const std::string& model_id) {
  auto opened = std::make_unique<CheckedDirectory>(CheckedDirectory{ModelDirectory(path), {}, {}, {}, {}});
  opened->config = open_config(opened->directory);
  const bool is_int8 = has_int8_weights(opened->directory.config(), opened->directory.config_path());
  opened->slots = tensor_slots(opened->config);
  for (const TensorSlot& slot : opened->slots) {
    const bool is_embedding = slot.role == TensorRole::embedding || slot.name == "model.embed_tokens.weight";
    opened->wanted.push_back({&opened->directory, &slot, is_embedding, is_int8});
  }
  opened->found = find_tensors(opened->wanted, model_id);
  refuse_unknown_tensors(opened->directory, opened->config, opened->slots);
  return opened;
}

}  // namespace

ModelPlan Model::plan(const std::string& path, const ModelOptions& options) {
  const std::string model_id = model_id_of(path, options.model_id);
  const std::atomic<uint64_t> bytes_read{0};
  return told_as_load_failure(path, model_id, bytes_read, [&] {
    const auto opened = open_directory(path, model_id);
    ModelPlan plan = plan_model(opened->config, opened->slots, opened->found.stored, options);
    plan.file_bytes += opened->found.scale_bytes();
    return plan;
  });
}

ModelConfig Model::read_config(const std::string& path, const ModelOptions& options) {
  const std::string model_id = model_id_of(path, options.model_id);
  const std::atomic<uint64_t> bytes_read{0};
  return told_as_load_failure(path, model_id, bytes_read, [&] { return open_config(ModelDirectory(path)); });
}

std::shared_ptr<const Model> Model::load(std::shared_ptr<Device> device, const std::string& path,
                                         const ModelOptions& options, const Watch& watch) {
  const std::string model_id = model_id_of(path, options.model_id);
  std::atomic<uint64_t> bytes_read{0};
  return told_as_load_failure(path, model_id, bytes_read, [&] {
    const auto opened = open_directory(path, model_id);
    const DirectorySource source(opened->wanted, opened->found, model_id);
    const BuildRequest request{model_id, &opened->config, opened->slots, &source, options, &bytes_read};
    return ModelBuilder::build(std::move(device), request, watch);
  });
}

}  // namespace nanochat
