// The decoder against the numbers of the reference implementation: every case on every device.
#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "base/json.h"
#include "unit/model/model_fixture.h"

namespace nanochat::testing {
namespace {

using Tokens = std::vector<int32_t>;
constexpr float kTolerance = 1e-4F;  // of fp32: the reference in float64 differs from itself by 2.1e-5

class GoldenModel : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  GoldenModel()
      : path_(golden_path(std::get<0>(GetParam()))),
        expected_(path_ + "/expected.safetensors"),
        inputs_(parse_json(read_file(path_ + "/inputs.json"), "inputs.json")) {}
  void SetUp() override {
    NANOCHAT_SKIP_WITHOUT_A_GPU(std::get<1>(GetParam()));
    model_ = load(path_, device_for_test(std::get<1>(GetParam())));
  }

  bool has(const std::string& tensor) const { return expected_.find(tensor) != nullptr; }
  std::vector<float> expected(const std::string& tensor) const { return floats_of(expected_, tensor); }
  Tokens tokens(const std::string& name) const { return inputs_.at(name).get<Tokens>(); }
  KvCache cache() const { return {model_, std::min<int64_t>(256, model_->weights().n_rope_positions)}; }
  std::vector<float> on_host(const float* data, size_t n) const {
    return nanochat::testing::on_host(model_->device(), data, static_cast<int64_t>(n));
  }
  size_t vocab_size() const { return static_cast<size_t>(model_->config().vocab_size); }

  // Feeds one token at a time and gives all their logits.
  static std::vector<float> feed_singly(KvCache& cache, const Tokens& ids) {
    std::vector<float> all;
    for (const int32_t id : ids) {
      const std::vector<float> logits = feed(cache, {&id, 1});
      all.insert(all.end(), logits.begin(), logits.end());
    }
    return all;
  }

  std::string path_;
  SafetensorsFile expected_;
  Json inputs_;
  std::shared_ptr<const Model> model_;
};

TEST_P(GoldenModel, GivesTheLogitsOfAWholeSequence) {
  std::vector<float> logits;
  for (const Json& row : inputs_.at("forward_tokens")) {
    const std::vector<float> more = logits_of(model_, row.get<Tokens>());
    logits.insert(logits.end(), more.begin(), more.end());
  }
  expect_near(logits, expected("forward.logits"), kTolerance, "forward.logits");
}

TEST_P(GoldenModel, GivesTheLogitsOfPrefillAndSteps) {
  KvCache sequence = cache();
  expect_near(feed(sequence, tokens("prompt_tokens")), expected("prefill.logits"), kTolerance,
              "prefill.logits");
  expect_near(feed_singly(sequence, tokens("step_tokens")), expected("step.logits"), kTolerance,
              "step.logits");
}

TEST_P(GoldenModel, GivesTheLogitsOfChunksOnANonEmptyCache) {
  if (!inputs_.contains("chunk_tokens")) GTEST_SKIP() << "not part of this case";
  KvCache sequence = cache();
  feed(sequence, tokens("prompt_tokens"), LogitRows::none);
  std::vector<float> logits;
  for (const Json& chunk : inputs_.at("chunk_tokens")) {
    const std::vector<float> more = feed(sequence, chunk.get<Tokens>());
    logits.insert(logits.end(), more.begin(), more.end());
  }
  const std::vector<float> more = feed_singly(sequence, tokens("chunk_step_tokens"));
  logits.insert(logits.end(), more.begin(), more.end());
  const std::string name = has("chunk.logits_full_forward") ? "chunk.logits_full_forward" : "chunk.logits";
  expect_near(logits, expected(name), kTolerance, name);
}

TEST_P(GoldenModel, GivesTheLogitsOfRowsThatShareAPrompt) {
  if (!has("rows.logits")) GTEST_SKIP() << "not part of this case";
  KvCache prompt = cache();
  feed(prompt, tokens("prompt_tokens"), LogitRows::none);
  const auto steps = inputs_.at("row_step_tokens").get<std::vector<Tokens>>();
  std::vector<KvCache> rows;
  for (size_t i = 0; i < steps.front().size(); ++i) rows.push_back(prompt.clone());
  std::vector<float> logits(steps.size() * rows.size() * vocab_size());
  float* out = logits.data();
  for (const Tokens& step : steps) {
    std::vector<SequenceInput> inputs;
    for (size_t i = 0; i < rows.size(); ++i) inputs.push_back({&rows[i], {&step[i], 1}});
    forward(*model_, inputs, out, {});
    out += rows.size() * vocab_size();
  }
  expect_near(logits, expected("rows.logits"), kTolerance, "rows.logits");
}

TEST_P(GoldenModel, ContinuesGreedilyTokenForToken) {
  KvCache sequence = cache();
  EXPECT_EQ(greedy(sequence, tokens("prompt_tokens"), 32), ids_of(expected_, "greedy.tokens"));
}

TEST_P(GoldenModel, HasTheRopeTablesOfTheReference) {
  const Weights& weights = model_->weights();
  EXPECT_EQ(weights.n_rope_positions, 10 * model_->config().sequence_len);
  const std::vector<float> cosines = expected("rope.cos"), sines = expected("rope.sin");
  const float tolerance = model_->config().rope_table_dtype == DType::bf16 ? 0.0F : 1.2e-7F;
  expect_near(on_host(weights.rope_cos, cosines.size()), cosines, tolerance, "rope.cos");
  expect_near(on_host(weights.rope_sin, sines.size()), sines, tolerance, "rope.sin");
}

TEST_P(GoldenModel, PassesThroughTheActivationsOfTheReference) {
  if (!has("trace.final_norm")) GTEST_SKIP() << "not part of this case";
  std::map<std::string, std::vector<float>> seen;
  const Trace trace = [&](const char* name, int64_t layer, const float* rows, int64_t n_rows, int64_t width) {
    const std::string key = "trace." + std::string(name) + (layer < 0 ? "" : "." + std::to_string(layer));
    std::vector<float>& values = seen[key];
    const std::vector<float> more = on_host(rows, static_cast<size_t>(n_rows * width));
    values.insert(values.end(), more.begin(), more.end());
  };
  for (const Json& row : inputs_.at("forward_tokens")) {
    const Tokens ids = row.get<Tokens>();
    KvCache sequence = cache();
    std::vector<float> logits(ids.size() * vocab_size());
    const SequenceInput input{&sequence, ids, LogitRows::all};
    forward(*model_, {&input, 1}, logits.data(), {}, trace);
  }
  size_t n_compared = 0;
  for (const TensorInfo& info : expected_.tensors()) {
    if (!info.name.starts_with("trace.")) continue;
    expect_near(seen[info.name], expected(info.name), kTolerance, info.name);
    ++n_compared;
  }
  EXPECT_EQ(n_compared, seen.size());
}

TEST_P(GoldenModel, KeepsTheCacheOfTheReference) {
  if (!has("cache.k")) GTEST_SKIP() << "not part of this case";
  KvCache sequence = cache();
  feed(sequence, tokens("prompt_tokens"), LogitRows::none);
  feed_singly(sequence, tokens("step_tokens"));
  const ModelConfig& config = model_->config();
  const auto length = sequence.length();
  const std::vector<std::byte> bytes = sequence.serialize();
  std::vector<float> stored(bytes.size() / sizeof(float));
  std::memcpy(stored.data(), bytes.data(), bytes.size());
  const auto plane = static_cast<ptrdiff_t>(length * config.n_kv_width());
  for (const bool is_key : {true, false}) {
    std::vector<float> values;
    for (int64_t layer = 0; layer < config.n_layer; ++layer) {
      const auto rows = stored.begin() + (2 * layer + (is_key ? 0 : 1)) * plane;
      values.insert(values.end(), rows, rows + plane);
    }
    const std::string name = is_key ? "cache.k" : "cache.v";
    expect_near(values, expected(name), kTolerance, name);
  }
  if (has("cache.prev_embedding")) {
    expect_near(on_host(sequence.embedding(length - 1), static_cast<size_t>(config.n_embd)),
                expected("cache.prev_embedding"), kTolerance, "cache.prev_embedding");
  }
}

NANOCHAT_EACH_ON_EVERY_DEVICE(GoldenModel, golden_cases(), [](const std::string& name) { return name; });

}  // namespace
}  // namespace nanochat::testing
