// The vectors of tests/data/embedders.
#pragma once

#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "unit/model/model_fixture.h"

namespace nanochat::testing {

struct EmbedderData {
  std::string folder = std::string(NANOCHAT_TEST_DATA) + "/embedders";
  SafetensorsFile file{folder + "/expected.safetensors"};
  Json inputs = parse_json(read_file(folder + "/inputs.json"), "inputs.json");

  std::vector<float> floats(const std::string& name) const { return floats_of(file, name); }
  std::vector<std::byte> bytes(const std::string& name) const {
    const TensorView view = file.view(*file.find(name));
    const auto* const data = static_cast<const std::byte*>(view.data);
    return {data, data + view.n_bytes()};
  }
  std::vector<std::string> texts() const {
    std::vector<std::string> texts;
    for (const Json& hex : inputs["texts_hex"]) {
      const std::string digits = hex.get<std::string>();
      std::string text;
      for (size_t i = 0; i < digits.size(); i += 2) {
        text += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
      }
      texts.push_back(text);
    }
    return texts;
  }
};

}  // namespace nanochat::testing
