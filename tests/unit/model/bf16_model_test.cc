// bf16 weights against a double-precision decoder that rounds the same operands.
#include <cmath>

#include "base/json.h"
#include "unit/model/model_fixture.h"
#include "unit/model/oracle_decoder.h"

namespace nanochat::testing {
namespace {

class Bf16Oracle : public ::testing::Test {
 public:
  static double to_bf16(double value) { return float_from_bf16(bf16_from_float(static_cast<float>(value))); }

  // The tensors of a golden case; tables are rounded here, because they are stored in bf16 too.
  static std::map<std::string, std::vector<float>> tensors_of(const std::string& path, bool rounds_tables) {
    const SafetensorsFile file(path + "/weights.safetensors");
    std::map<std::string, std::vector<float>> tensors;
    for (const TensorInfo& info : file.tensors()) {
      std::vector<float>& values = tensors[info.name] = floats_of(file, info.name);
      const bool is_table =
          info.name.find("wte") != std::string::npos || info.name.starts_with("value_embeds");
      if (!is_table || !rounds_tables) continue;
      for (float& value : values) value = static_cast<float>(to_bf16(value));
    }
    return tensors;
  }

  static std::vector<float> flat(const OracleDecoder::Rows& rows) {
    std::vector<float> values;
    for (const auto& row : rows) values.insert(values.end(), row.begin(), row.end());
    return values;
  }
};

class Bf16Model : public DeviceTest {};

float rms_difference(std::span<const float> a, std::span<const float> b) {
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - b[i], 2.0);
  return static_cast<float>(std::sqrt(sum / static_cast<double>(a.size())));
}

// An operand on a rounding boundary may fall to one side in fp32 and to the other in double. One such flip,
// 2^-8 of the operand, moves what follows by enough to flip others, so a case agrees either closely or only
// as far as a few flips allow.
TEST_P(Bf16Model, AgreesWithTheOracleFarBetterThanRoundingMatters) {
  size_t n_close = 0;
  for (const std::string& name : golden_cases()) {
    const std::string path = golden_path(name);
    const Json inputs = parse_json(read_file(path + "/inputs.json"), name);
    auto tokens = inputs.at("forward_tokens")[0].get<std::vector<int32_t>>();
    tokens.resize(std::min<size_t>(tokens.size(), 24));
    const auto model = load(path, device_, {WeightDtype::bf16});
    EXPECT_EQ(model->weight_dtype(), WeightDtype::bf16);
    const OracleDecoder oracle(model->config(), Bf16Oracle::tensors_of(path, true), Bf16Oracle::to_bf16);
    const std::vector<float> logits = logits_of(model, tokens),
                             expected = Bf16Oracle::flat(oracle.logits(tokens));
    const float difference = rms_difference(logits, expected);
    const float effect = rms_difference(expected, logits_of(load(path, device_), tokens));
    n_close += difference < effect / 100 ? 1 : 0;
    EXPECT_LT(difference, effect / 2) << name << ": against the effect of rounding as such";
    EXPECT_LT(difference, 0.01F) << name;
    EXPECT_LT(effect, 0.2F) << name << ": small against logits of up to 15";
    EXPECT_GT(effect, 0.005F) << name << ": but visible";
    RecordProperty(name, std::to_string(difference) + " of " + std::to_string(effect));
  }
  EXPECT_GE(n_close, golden_cases().size() / 3);
}

TEST_F(Bf16Oracle, AgreesWithTheReference) {
  for (const std::string& name : golden_cases()) {
    const std::string path = golden_path(name);
    const Json inputs = parse_json(read_file(path + "/inputs.json"), name);
    const auto tokens = inputs.at("prompt_tokens").get<std::vector<int32_t>>();
    const auto config = parse_model_config(parse_json(read_file(path + "/config.json"), name), name);
    const OracleDecoder oracle(config, tensors_of(path, false), [](double value) { return value; });
    const SafetensorsFile expected(path + "/expected.safetensors");
    expect_near(flat(oracle.logits(tokens)), floats_of(expected, "prefill.logits"), 5e-5F, name);
  }
}

NANOCHAT_ON_EVERY_DEVICE(Bf16Model);

}  // namespace
}  // namespace nanochat::testing
