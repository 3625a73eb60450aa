// int8 weights on disk: what is written, that it comes back to the bit, and which files are refused.
#include <cmath>
#include <functional>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/tensor_slots.h"
#include "unit/io/scratch_folder.h"
#include "unit/model/model_fixture.h"

namespace nanochat::testing {
namespace {

using json = nlohmann::ordered_json;

const std::vector<int32_t> kTokens = {3, 1, 4, 1, 5, 9, 2, 6, 5, 35};

std::vector<std::string> model_paths() {
  std::vector<std::string> paths = {model_path("stories260K"), model_path("hf_llama_gqa_sharded"),
                                    model_path("hf_nanochat")};
  for (const std::string& name : golden_cases()) paths.push_back(golden_path(name));
  return paths;
}

std::string weights_in(const ScratchFolder& folder) {
  const std::string own = folder.file("weights.safetensors");
  return file_exists(own) ? own : folder.file("model.safetensors");
}

class Int8SavedModel : public DeviceTest {};
NANOCHAT_ON_EVERY_KIND_OF_DEVICE(Int8SavedModel);

TEST_P(Int8SavedModel, GivesTheSameBitsWhenItIsLoadedAgain) {
  const std::vector<std::string> few = {model_path("hf_llama_gqa_sharded"), golden_path("v1_chunked")};
  for (const std::string& path : sizes(model_paths(), few)) {
    const auto model = load(path, device_, {WeightDtype::i8});
    const uint64_t before_second = device_->memory().stats().model_bytes;
    const ScratchFolder folder;
    model->save(folder.path(), {});
    const ModelPlan plan = Model::plan(folder.path(), {});
    const auto again = load(folder.path(), device_);
    EXPECT_EQ(again->weight_dtype(), WeightDtype::i8) << path;
    EXPECT_EQ(again->config(), model->config()) << path;
    EXPECT_EQ(again->plan().weight_bytes, model->plan().weight_bytes);
    EXPECT_EQ(plan.weight_bytes, again->plan().weight_bytes);
    EXPECT_EQ(plan.file_bytes, again->plan().file_bytes);
    EXPECT_EQ(device_->memory().stats().model_bytes - before_second, plan.weight_bytes);
    EXPECT_TRUE(same_bits(logits_of(again, kTokens), logits_of(model, kTokens))) << path;
    const std::string before = file_bytes(weights_in(folder));
    again->save(folder.path(), {});
    EXPECT_TRUE(file_bytes(weights_in(folder)) == before) << path;
    EXPECT_EQ(load(folder.path())->checksum(), again->checksum());
  }
}

// Each value by its definition, from the stored floats.
TEST(Int8Save, WritesIntegersAndScalesByTheirDefinition) {
  const ScratchFolder folder;
  load(model_path("stories260K"), make_device(), {WeightDtype::i8})->save(folder.path(), {});
  const SafetensorsFile stored(model_path("stories260K") + "/model.safetensors"),
      written(folder.file("model.safetensors"));
  size_t n_matrices = 0;
  for (const TensorInfo& info : written.tensors()) {
    EXPECT_TRUE(written.is_aligned(info)) << info.name;
    if (info.dtype != DType::i8) continue;
    ++n_matrices;
    const std::vector<float> values = floats_of(stored, info.name),
                             scales = floats_of(written, info.name + "_scale");
    const auto* integers = static_cast<const int8_t*>(written.view(info).data);
    const auto width = static_cast<size_t>(info.shape[1]);
    ASSERT_EQ(scales.size(), static_cast<size_t>(info.shape[0]));
    EXPECT_EQ(written.find(info.name + "_scale")->shape, (Shape{info.shape[0], 1}));
    for (size_t row = 0; row < scales.size(); ++row) {
      float largest = 0.0F;
      for (size_t k = 0; k < width; ++k) largest = std::max(largest, std::abs(values[row * width + k]));
      ASSERT_EQ(scales[row], largest / 127.0F) << info.name << " row " << row;
      for (size_t k = 0; k < width; ++k) {
        ASSERT_EQ(integers[row * width + k],
                  static_cast<int>(std::nearbyint(values[row * width + k] / scales[row])));
      }
    }
  }
  EXPECT_EQ(n_matrices, 5 * 7 + 1U);  // tied: the embedding is the head
  const json config = json::parse(read_file(folder.file("config.json")));
  const json& scheme = config.at("quantization_config");
  EXPECT_EQ(scheme.at("quant_method"), "compressed-tensors");
  EXPECT_EQ(scheme.at("format"), "int-quantized");
  EXPECT_EQ(scheme.at("config_groups").at("group_0").at("weights").at("strategy"), "channel");
}

TEST(Int8Save, LoadedAsFloatsItGivesIntegerTimesScale) {
  const ScratchFolder folder;
  const auto model = load(model_path("hf_llama_gqa_sharded"), make_device(), {WeightDtype::i8});
  model->save(folder.path(), {});
  const auto rows_of = [](const Model& of, const PackedMatrix& matrix) {
    const std::vector<int32_t> ids = {0, 1, 2};
    std::vector<float> rows(ids.size() * static_cast<size_t>(matrix.k));
    of.device().kernels().unpack_rows(of.device(), matrix, ids, rows.data());
    return rows;
  };
  const auto wide = load(folder.path(), make_device(), {WeightDtype::f32});
  const auto half = load(folder.path(), make_device(), {WeightDtype::bf16});
  EXPECT_EQ(wide->weight_dtype(), WeightDtype::f32);
  EXPECT_EQ(half->weight_dtype(), WeightDtype::bf16);
  for (const auto member :
       {&LayerWeights::qkv, &LayerWeights::o, &LayerWeights::mlp_in, &LayerWeights::mlp_out}) {
    std::vector<float> expected = rows_of(*model, model->weights().layers[0].*member);
    EXPECT_EQ(rows_of(*wide, wide->weights().layers[0].*member), expected);
    for (float& value : expected) value = float_from_bf16(bf16_from_float(value));
    EXPECT_EQ(rows_of(*half, half->weights().layers[0].*member), expected);
  }
}

TEST(Quantize, IsWhatALoadAsInt8Is) {
  for (const std::string& path :
       {model_path("stories260K"), model_path("hf_nanochat"), golden_path("v1_gqa_4_2")}) {
    const auto device = make_device();
    const auto whole = load(path, device);
    const auto quantized = whole->quantize({});
    const auto loaded = load(path, make_device(), {WeightDtype::i8});
    EXPECT_EQ(quantized->weight_dtype(), WeightDtype::i8);
    // The rows that pad a vocabulary are stored, but not kept.
    if (loaded->config().padded_vocab_size == loaded->config().vocab_size) {
      EXPECT_EQ(quantized->checksum(), loaded->checksum()) << path;
    }
    EXPECT_EQ(quantized->plan().weight_bytes, loaded->plan().weight_bytes);
    EXPECT_EQ(device->memory().stats().model_bytes,
              whole->plan().weight_bytes + quantized->plan().weight_bytes);
    EXPECT_TRUE(same_bits(logits_of(quantized, kTokens), logits_of(loaded, kTokens))) << path;
    EXPECT_THROW(quantized->quantize({}), Error);
  }
}

TEST(Quantize, StopsAtEveryProgressCallAndLeavesNothing) {
  const auto device = make_device();
  const auto whole = load(model_path("stories260K"), device);
  for (int last = 0; last < 1000; ++last) {
    int n = 0;
    Watch watch;
    watch.on_progress = [&](const Progress& at) {
      EXPECT_STREQ(at.stage, "quantize");
      return n++ < last;
    };
    try {
      whole->quantize(watch);
      EXPECT_GT(last, 1);
      break;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::cancelled);
    }
    EXPECT_EQ(device->memory().stats().model_bytes, whole->plan().weight_bytes);
  }
}

// A saved int8 model that a test damages before it is loaded.
class DamagedInt8 : public ::testing::Test {
 protected:
  static constexpr const char* kWeight = "model.layers.0.self_attn.k_proj.weight";
  static constexpr const char* kScale = "model.layers.0.self_attn.k_proj.weight_scale";

  DamagedInt8() {
    load(model_path("hf_llama_gqa_sharded"), make_device(), {WeightDtype::i8})->save(folder_.path(), {});
    const SafetensorsFile file(folder_.file("model.safetensors"));
    for (const TensorInfo& info : file.tensors()) {
      const auto bytes = file.file().text().substr(info.offset, info.n_bytes);
      tensors_.push_back({info, std::string(bytes)});
    }
  }

  struct Stored {
    TensorInfo info;
    std::string bytes;
  };
  Stored& tensor(const std::string& name) {
    return *std::find_if(tensors_.begin(), tensors_.end(),
                         [&](const Stored& t) { return t.info.name == name; });
  }
  void set_scale(size_t row, float value) {
    std::memcpy(tensor(kScale).bytes.data() + row * sizeof value, &value, sizeof value);
  }
  void write() const {
    std::vector<TensorInfo> infos;
    for (const Stored& stored : tensors_) infos.push_back(stored.info);
    SafetensorsWriter out(folder_.file("model.safetensors"), infos);
    for (const Stored& stored : tensors_) out.write(as_bytes(stored.bytes));
    out.commit();
  }
  void change_config(const std::function<void(json&)>& change) const {
    json config = json::parse(read_file(folder_.file("config.json")));
    change(config);
    folder_.write("config.json", config.dump());
  }
  void expect_refused(Status status, std::initializer_list<const char*> words, bool by_plan) const {
    for (const bool is_plan : {true, false}) {
      if (is_plan && !by_plan) continue;
      try {
        if (is_plan) {
          Model::plan(folder_.path(), {});
        } else {
          load(folder_.path());
        }
        ADD_FAILURE() << "not refused: " << *words.begin();
      } catch (const Error& error) {
        EXPECT_EQ(error.status(), status) << error.message();
        for (const char* word : words)
          EXPECT_NE(error.message().find(word), std::string::npos) << error.message();
      }
    }
  }

  ScratchFolder folder_;
  std::vector<Stored> tensors_;
};

TEST_F(DamagedInt8, ScalesOutOfRangeAreNamedWithTheirValue) {
  const std::vector<std::pair<float, const char*>> bad = {
      {-0.5F, "-0.5"}, {std::nanf(""), "nan"}, {HUGE_VALF, "inf"}, {3e38F, "3.00000"}};
  for (const auto& [value, text] : bad) {
    set_scale(3, value);
    write();
    expect_refused(Status::model_validation_failed, {kScale, "element 3", text}, false);
  }
  set_scale(3, 0.0F);
  write();
  EXPECT_NO_THROW(load(folder_.path()));
}

TEST_F(DamagedInt8, MissingScalesAreNamed) {
  std::erase_if(tensors_, [](const Stored& stored) { return stored.info.name == kScale; });
  write();
  expect_refused(Status::model_load_failed, {kWeight, kScale, "missing"}, true);
}

TEST_F(DamagedInt8, MisshapenScalesAreNamedWithBothShapes) {
  Stored& scales = tensor(kScale);
  const int64_t n = scales.info.shape[0];
  scales.info.shape = {n};
  write();
  expect_refused(Status::model_load_failed, {kScale, "expected"}, true);
  scales.info.shape = {n - 1, 1};
  scales.bytes.resize(scales.bytes.size() - sizeof(float));
  write();
  expect_refused(Status::model_load_failed, {kScale, "expected"}, true);
}

TEST_F(DamagedInt8, ScalesOfATensorThatIsNoInt8AreNamed) {
  Stored& weight = tensor(kWeight);
  weight.info.dtype = DType::f32;
  weight.bytes.assign(weight.bytes.size() * 4, '\0');
  write();
  expect_refused(Status::model_load_failed, {kScale, "F32"}, true);
  std::erase_if(tensors_, [](const Stored& stored) { return stored.info.name == kScale; });
  write();  // one matrix of floats among int8: a fused matrix of both becomes f32
  const auto model = load(folder_.path());
  EXPECT_EQ(model->weights().layers[0].qkv.dtype, DType::f32);
  EXPECT_EQ(model->weights().layers[0].o.dtype, DType::i8);
  EXPECT_EQ(model->weight_dtype(), WeightDtype::i8);
  EXPECT_EQ(Model::plan(folder_.path(), {}).weight_bytes, model->plan().weight_bytes);
}

TEST_F(DamagedInt8, AVectorOfIntegersIsRefused) {
  Stored& norm = tensor("model.norm.weight");
  norm.info.dtype = DType::i8;
  norm.bytes.resize(norm.bytes.size() / 4);
  write();
  expect_refused(Status::model_load_failed, {"model.norm.weight", "I8"}, true);
}

TEST_F(DamagedInt8, IntegersNeedAConfigurationThatSaysSo) {
  change_config([](json& config) { config.erase("quantization_config"); });
  expect_refused(Status::model_load_failed, {"quantization_config", "I8"}, true);
}

TEST_F(DamagedInt8, OtherSchemesAreRefusedByName) {
  const std::string original = read_file(folder_.file("config.json"));
  const std::vector<std::pair<const char*, std::function<void(json&)>>> changes = {
      {"quant_method", [](json& q) { q["quant_method"] = "gptq"; }},
      {"quant_method", [](json& q) { q.erase("quant_method"); }},
      {"format", [](json& q) { q["format"] = "pack-quantized"; }},
      {"quantization_status", [](json& q) { q["quantization_status"] = "frozen"; }},
      {"kv_cache_scheme",
       [](json& q) {
         q["kv_cache_scheme"] = {{"num_bits", 8}};
       }},
      {"sparsity_config",
       [](json& q) {
         q["sparsity_config"] = {{"format", "sparse-24-bitmask"}};
       }},
      {"config_groups", [](json& q) { q["config_groups"] = json::object(); }},
      {"config_groups", [](json& q) { q["config_groups"] = 7; }},
      {"weights", [](json& q) { q["config_groups"]["group_0"].erase("weights"); }},
      {"num_bits", [](json& q) { q["config_groups"]["group_0"]["weights"]["num_bits"] = 4; }},
      {"type", [](json& q) { q["config_groups"]["group_0"]["weights"]["type"] = "float"; }},
      {"symmetric", [](json& q) { q["config_groups"]["group_0"]["weights"]["symmetric"] = false; }},
      {"strategy", [](json& q) { q["config_groups"]["group_0"]["weights"]["strategy"] = "group"; }},
      {"group_size", [](json& q) { q["config_groups"]["group_0"]["weights"]["group_size"] = 128; }},
      {"input_activations",
       [](json& q) {
         q["config_groups"]["group_0"]["input_activations"] = {{"num_bits", 8}};
       }},
      {"output_activations", [](json& q) {
         q["config_groups"]["group_0"]["output_activations"] = {{"num_bits", 8}};
       }}};
  for (const auto& [word, change] : changes) {
    folder_.write("config.json", original);
    change_config([&](json& config) { change(config["quantization_config"]); });
    expect_refused(Status::model_load_failed, {"quantization_config", word}, true);
  }
  folder_.write("config.json", original);
  change_config([](json& config) {
    config["quantization_config"]["config_groups"]["group_0"]["input_activations"] = {
        {"num_bits", 8}, {"type", "int"}, {"symmetric", true}, {"strategy", "token"}, {"dynamic", true}};
  });
  EXPECT_NO_THROW(load(folder_.path()));
}

// Other programs store scales in the model's own type, and integers down to -128.
TEST_F(DamagedInt8, ScalesInBf16AndTheLeastIntegerAreRead) {
  Stored& scales = tensor(kScale);
  std::string words;
  for (size_t i = 0; i < scales.bytes.size(); i += 4) words += scales.bytes.substr(i + 2, 2);
  scales.bytes = words;
  scales.info.dtype = DType::bf16;
  tensor(kWeight).bytes[5] = static_cast<char>(-128);
  write();
  const auto model = load(folder_.path());
  const auto wide = load(folder_.path(), make_device(), {WeightDtype::f32});
  uint16_t first = 0;
  std::memcpy(&first, words.data(), sizeof first);
  const auto k_row = static_cast<int32_t>(first_matrix_row(model->config(), TensorRole::k));
  for (const auto& loaded : {model, wide}) {
    const PackedMatrix& matrix = loaded->weights().layers[0].qkv;
    std::vector<float> row(static_cast<size_t>(matrix.k));
    loaded->device().kernels().unpack_rows(loaded->device(), matrix, {&k_row, 1}, row.data());
    EXPECT_EQ(row[5], -128.0F * float_from_bf16(first));
  }
  EXPECT_EQ(Model::plan(folder_.path(), {}).file_bytes, model->plan().file_bytes);
}

}  // namespace
}  // namespace nanochat::testing
