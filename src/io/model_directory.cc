#include "io/model_directory.h"

#include <utility>

#include "base/error.h"
#include "base/excerpt.h"

namespace nanochat {

namespace {

constexpr uint64_t kMaxConfigBytes = uint64_t{16} << 20;
constexpr uint64_t kMaxIndexBytes = uint64_t{256} << 20;
constexpr const char* kIndexName = "model.safetensors.index.json";
constexpr const char* kSingleFileNames[] = {"model.safetensors", "weights.safetensors"};

// Tensor name to shard name, sorted by tensor.
using WeightMap = std::map<std::string, std::string, std::less<>>;

[[noreturn]] void refuse(Status status, const std::string& path, std::string_view reason) {
  throw Error(status).subject(path).say("{}: {}", path, reason);
}

void check_shard_name(const std::string& index_path, const std::string& tensor, const std::string& shard) {
  const bool plain = !shard.empty() && shard != "." && shard != ".." &&
                     shard.find('/') == std::string::npos && shard.find('\\') == std::string::npos &&
                     shard.find('\0') == std::string::npos;
  if (!plain) {
    refuse(Status::format_invalid, index_path,
           format_text("tensor '{}': shard '{}' is not a plain file name", excerpt(tensor), excerpt(shard)));
  }
}

WeightMap read_weight_map(const std::string& index_path) {
  const Json index = parse_json(read_file(index_path, kMaxIndexBytes), index_path);
  const Json* found = index.find("weight_map");
  if (found == nullptr || !found->is_object()) {
    refuse(Status::format_invalid, index_path, "no object 'weight_map' of tensors and their shards");
  }
  WeightMap weight_map;
  for (const auto& [tensor, shard] : found->items()) {
    if (!shard.is_string()) {
      refuse(Status::format_invalid, index_path,
             format_text("tensor '{}': shard is {}, expected a string", excerpt(tensor),
                         excerpt(write_json(shard))));
    }
    check_shard_name(index_path, tensor, shard.get_ref<const std::string&>());
    weight_map.emplace(tensor, shard.get_ref<const std::string&>());
  }
  return weight_map;
}

}  // namespace

ModelDirectory::ModelDirectory(const std::string& path)
    : path_(path), config_path_(join_path(path, "config.json")) {
  if (!directory_exists(path)) {
    if (file_exists(path)) refuse(Status::invalid_argument, path, "is a file, expected a model directory");
    refuse(Status::file_not_found, path, "no such model directory");
  }
  open_config();
  open_weights();
}

void ModelDirectory::open_config() {
  if (!file_exists(config_path_)) refuse(Status::file_not_found, config_path_, "no such file");
  Json config = parse_json(read_file(config_path_, kMaxConfigBytes), config_path_);
  if (!config.is_object()) {
    refuse(Status::format_invalid, config_path_,
           format_text("the document is {}, expected an object", excerpt(write_json(config))));
  }
  config_ = std::make_shared<const Json>(std::move(config));
}

void ModelDirectory::open_weights() {
  const std::string index_path = join_path(path_, kIndexName);
  if (file_exists(index_path)) return open_shards(index_path);
  for (const char* name : kSingleFileNames) {
    const std::string file_path = join_path(path_, name);
    if (file_exists(file_path)) return open_file(file_path);
  }
  refuse(Status::file_not_found, path_,
         format_text("no weights: none of {}, {}, {}", kIndexName, kSingleFileNames[0], kSingleFileNames[1]));
}

void ModelDirectory::open_shards(const std::string& index_path) {
  const WeightMap weight_map = read_weight_map(index_path);
  std::map<std::string, std::string> first_tensor_of;  // by shard
  for (const auto& [tensor, shard] : weight_map) first_tensor_of.emplace(shard, tensor);
  for (const auto& [shard, tensor] : first_tensor_of) {
    const std::string shard_path = join_path(path_, shard);
    if (!file_exists(shard_path)) {
      refuse(Status::file_not_found, index_path,
             format_text("tensor '{}': shard '{}' is not in the directory", excerpt(tensor), excerpt(shard)));
    }
    open_file(shard_path);
  }
  for (const auto& [name, entry] : tensors_) {
    const auto listed = weight_map.find(name);
    if (listed == weight_map.end()) {
      refuse(Status::format_invalid, entry.file->path(),
             format_text("tensor '{}' is in the shard, but not in {}", excerpt(name), kIndexName));
    }
    if (const std::string shard = file_name(entry.file->path()); shard != listed->second) {
      refuse(Status::format_invalid, index_path,
             format_text("tensor '{}': the index names shard '{}', but it is in '{}'", excerpt(name),
                         excerpt(listed->second), excerpt(shard)));
    }
  }
  for (const auto& [name, shard] : weight_map) {
    if (contains(name)) continue;
    refuse(
        Status::format_invalid, index_path,
        format_text("tensor '{}' is not in shard '{}' that the index names", excerpt(name), excerpt(shard)));
  }
}

void ModelDirectory::open_file(const std::string& file_path) {
  const SafetensorsFile& file = *files_.emplace_back(std::make_unique<SafetensorsFile>(file_path));
  for (const TensorInfo& info : file.tensors()) {
    const auto [place, inserted] = tensors_.emplace(info.name, Entry{&file, &info});
    if (!inserted) {
      refuse(Status::format_invalid, file_path,
             format_text("tensor '{}' is here and in '{}' too", excerpt(info.name),
                         file_name(place->second.file->path())));
    }
  }
}

const Json& ModelDirectory::config() const { return *config_; }

bool ModelDirectory::contains(std::string_view name) const { return tensors_.find(name) != tensors_.end(); }

ModelDirectory::Entry ModelDirectory::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    refuse(Status::format_invalid, path_,
           format_text("tensor '{}' is missing, among {} tensors", excerpt(name), tensors_.size()));
  }
  return found->second;
}

std::vector<std::string> ModelDirectory::names() const {
  std::vector<std::string> out;
  out.reserve(tensors_.size());
  for (const auto& [name, entry] : tensors_) out.push_back(name);
  return out;
}

uint64_t ModelDirectory::weight_bytes() const {
  uint64_t sum = 0;
  for (const auto& [name, entry] : tensors_) sum += entry.info->n_bytes;
  return sum;
}

std::string ModelDirectory::tokenizer_path() const {
  std::string tokenizer = join_path(path_, "tokenizer.json");
  return file_exists(tokenizer) ? tokenizer : std::string();
}

}  // namespace nanochat
