// Reading of tests/data/tokenizers.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "io/zstd_stream.h"

namespace nanochat {

inline std::string sample_path(const std::string& name) {
  return std::string(NANOCHAT_TEST_DATA) + "/tokenizers/" + name;
}

inline std::string read_sample(const std::string& name) {
  return read_text_file(sample_path(name), uint64_t{1} << 28);
}

inline nlohmann::ordered_json read_sample_json(const std::string& name) {
  return nlohmann::ordered_json::parse(read_sample(name));
}

inline std::vector<std::string> sample_texts() {
  return read_sample_json("samples.json.zst").get<std::vector<std::string>>();
}

}  // namespace nanochat
