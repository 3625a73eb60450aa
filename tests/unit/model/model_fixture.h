// Models of tests/data, run the short way.
#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/file.h"
#include "device_under_test.h"
#include "io/safetensors.h"
#include "model/decoder.h"
#include "model/kv_cache.h"
#include "model/model.h"
#include "tensor/device.h"
#include "tensor/kernels.h"

namespace nanochat::testing {

inline const std::vector<std::string>& golden_cases() {
  static const std::vector<std::string> names = {"v0_gqa_4_2", "v0_mha",
                                                 "v0_mqa",     "v0_odd_vocab",
                                                 "v0_prompt1", "v1_beyond_context",
                                                 "v1_chunked", "v1_default_pattern",
                                                 "v1_gqa_4_2", "v1_one_layer",
                                                 "v1_prompt1", "v1_ve_even_layers"};
  return names;
}
inline std::string golden_path(const std::string& name) {
  return std::string(NANOCHAT_TEST_DATA) + "/golden/model/" + name;
}
inline std::string model_path(const std::string& name) {
  return std::string(NANOCHAT_TEST_DATA) + "/models/" + name;
}

inline std::shared_ptr<const Model> load(const std::string& path,
                                         std::shared_ptr<Device> device = make_device(),
                                         const ModelOptions& options = {}) {
  return Model::load(std::move(device), path, options, {});
}

// Rows of a packed matrix, as numbers.
inline std::vector<float> rows_of(const Model& model, const PackedMatrix& matrix,
                                  std::span<const int32_t> rows) {
  Device& device = model.device();
  const int64_t n = std::ssize(rows) * matrix.k;
  const Block block = device.memory().allocate(PoolKind::working, static_cast<uint64_t>(n) * 4, "rows");
  device.kernels().unpack_rows(device, matrix, rows, block.as<float>());
  device.synchronize();
  return on_host(device, block.as<float>(), n);
}

// Feeds tokens to a cache and gives the wanted logits.
inline std::vector<float> feed(KvCache& cache, std::span<const int32_t> tokens,
                               LogitRows rows = LogitRows::all) {
  const Model& model = cache.model();
  const size_t n_rows = rows == LogitRows::all ? tokens.size() : (rows == LogitRows::last ? 1 : 0);
  std::vector<float> logits(n_rows * static_cast<size_t>(model.config().vocab_size));
  const SequenceInput sequence{&cache, tokens, rows};
  forward(model, {&sequence, 1}, logits.data(), {});
  return logits;
}

inline std::vector<float> logits_of(const std::shared_ptr<const Model>& model,
                                    std::span<const int32_t> tokens) {
  KvCache cache(model, std::ssize(tokens));
  return feed(cache, tokens);
}

inline std::vector<int32_t> greedy(KvCache& cache, std::span<const int32_t> prompt, int64_t n) {
  std::vector<int32_t> out;
  std::vector<float> logits = feed(cache, prompt, LogitRows::last);
  while (std::ssize(out) < n) {
    out.push_back(static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    if (std::ssize(out) < n) logits = feed(cache, std::span(out).last(1), LogitRows::last);
  }
  return out;
}

// Values of an F32 tensor.
inline std::vector<float> floats_of(const SafetensorsFile& file, const std::string& name) {
  const TensorInfo* info = file.find(name);
  if (info == nullptr || info->dtype != DType::f32) throw std::runtime_error("no F32 tensor " + name);
  const TensorView view = file.view(*info);
  std::vector<float> values(static_cast<size_t>(view.n_elements()));
  if (!values.empty()) std::memcpy(values.data(), view.data, values.size() * sizeof(float));
  return values;
}

inline std::vector<int32_t> ids_of(const SafetensorsFile& file, const std::string& name) {
  const TensorView view = file.view(*file.find(name));
  std::vector<int64_t> wide(static_cast<size_t>(view.n_elements()));
  std::memcpy(wide.data(), view.data, wide.size() * sizeof(int64_t));
  return {wide.begin(), wide.end()};
}

inline void expect_near(std::span<const float> actual, std::span<const float> expected, float tolerance,
                        const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  float largest = 0.0F;
  size_t where = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const float difference = std::abs(actual[i] - expected[i]);
    if (!(difference <= largest)) {
      largest = difference;
      where = i;
    }
  }
  EXPECT_TRUE(largest <= tolerance) << what << ": element " << where << " is " << actual[where]
                                    << ", expected " << expected[where];
}

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

inline float largest_difference(std::span<const float> a, std::span<const float> b) {
  float largest = 0.0F;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

}  // namespace nanochat::testing
