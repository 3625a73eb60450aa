// A model on disk: config.json, weights in one safetensors file or in shards with an index, tokenizer.json.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "io/safetensors.h"

namespace nanochat {

// Opens the headers only; no weight is read. Accepted weights: model.safetensors.index.json with its shards
// (every shard named must be there, every tensor must be in the shard the index names, and the other way
// round), else model.safetensors, else weights.safetensors (nanochat's own). Where several are there, the
// first of this list is taken and the others are not looked at. Links are followed; a shard's name is a plain
// file name, so that an index cannot reach outside of the directory.
//
// Throws file_not_found for what is not there (the directory, config.json, weights, a shard),
// invalid_argument for a path that is a file, format_invalid for everything malformed. Immutable; share
// freely.
class ModelDirectory {
 public:
  explicit ModelDirectory(const std::string& path);

  const std::string& path() const { return path_; }
  const Json& config() const;  // config.json, an object
  const std::string& config_path() const { return config_path_; }

  struct Entry {  // lives as long as the ModelDirectory
    const SafetensorsFile* file;
    const TensorInfo* info;
    TensorView view() const { return file->view(*info); }
  };
  bool contains(std::string_view name) const;
  Entry find(std::string_view name) const;  // throws format_invalid naming the directory and the tensor
  std::vector<std::string> names() const;   // sorted
  uint64_t weight_bytes() const;            // of all tensors, as stored
  std::string tokenizer_path() const;       // path/tokenizer.json, or "" if absent

 private:
  void open_config();
  void open_weights();
  void open_shards(const std::string& index_path);
  void open_file(const std::string& file_path);

  std::string path_, config_path_;
  std::shared_ptr<const Json> config_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, Entry, std::less<>> tensors_;
};

}  // namespace nanochat
