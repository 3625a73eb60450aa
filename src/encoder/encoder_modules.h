// What stands beside the transformer in a directory of sentence-transformers: modules.json and the folders it
// names.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "encoder/encoder_config.h"

namespace nanochat {

struct SentenceModules {
  std::string transformer_folder;  // "": the directory itself
  std::optional<TextPooling> pooling;
  std::vector<DenseConfig> dense;
  bool has_normalize = false;
  bool is_sparse = false;
  int32_t n_sparse_logs = 1;
  int64_t max_seq_length = 0;  // 0: not said
};

// Empty if there is no modules.json. Throws config_invalid, format_invalid or format_unsupported: a kind of
// module, a way of pooling or a folder's name that is not accepted, dense weights that are no safetensors.
std::optional<SentenceModules> read_sentence_modules(const std::string& path);

// Adds what they say to what config.json said.
void apply_sentence_modules(const SentenceModules& modules, std::string_view file_name,
                            EncoderConfig& config);

}  // namespace nanochat
