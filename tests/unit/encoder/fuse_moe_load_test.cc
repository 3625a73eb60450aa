// FuseMoE on disk: what is written comes back, and what is wrong is refused by name.
#include <atomic>
#include <thread>

#include "encoder/fuse_moe.h"
#include "unit/io/scratch_folder.h"
#include "unit/memory/counting_memory.h"
#include "unit/model/model_fixture.h"

namespace nanochat::testing {
namespace {

const std::string kSmall = model_path("fuse_moe_small");

FuseMoeOutput fuse_expected(const FuseMoe& model) {
  const SafetensorsFile file(kSmall + "/expected.safetensors");
  const std::vector<float> inputs = floats_of(file, "inputs");
  const int64_t width = model.config().input_dim;
  return model.forward({inputs, std::ssize(inputs) / width, width}, {});
}

class SavedFuseMoe : public DeviceTest {};
NANOCHAT_ON_EVERY_KIND_OF_DEVICE(SavedFuseMoe);

TEST_P(SavedFuseMoe, GivesTheSameBitsWhenItIsLoadedAgain) {
  for (const WeightDtype dtype : {WeightDtype::f32, WeightDtype::bf16, WeightDtype::i8, WeightDtype::f8}) {
    const auto model = FuseMoe::load(device_, kSmall, {dtype}, {});
    const ScratchFolder folder;
    model->save(folder.path(), {});
    const FuseMoePlan plan = FuseMoe::plan(folder.path(), {});
    const auto again = FuseMoe::load(device_, folder.path(), {}, {});
    EXPECT_EQ(again->weight_dtype(), dtype);
    EXPECT_EQ(again->config(), model->config());
    EXPECT_EQ(again->plan().weight_bytes, model->plan().weight_bytes);
    EXPECT_EQ(again->plan().file_bytes, plan.file_bytes);
    EXPECT_TRUE(same_bits(fuse_expected(*again).values, fuse_expected(*model).values));
    const std::string before = file_bytes(folder.file("model.safetensors"));
    again->save(folder.path(), {});
    EXPECT_TRUE(file_bytes(folder.file("model.safetensors")) == before);
    EXPECT_EQ(FuseMoe::load(device_, folder.path(), {}, {})->checksum(), again->checksum());
  }
}

TEST(FuseMoeSave, Fp8OnDiskBecomesFloatsOfTheSameValues) {
  const ScratchFolder folder;
  FuseMoe::load(make_device(), kSmall, {WeightDtype::f8}, {})->save(folder.path(), {});
  const auto wide = FuseMoe::load(make_device(), folder.path(), {WeightDtype::f32}, {});
  const SafetensorsFile written(folder.file("model.safetensors")), stored(kSmall + "/model.safetensors");
  EXPECT_EQ(written.find("experts.2.fc2.weight")->dtype, DType::f8_e4m3);
  EXPECT_EQ(written.find("gate.weight")->dtype, DType::f32);
  const std::vector<float> values = floats_of(stored, "experts.2.fc2.weight");
  const std::vector<float> scales = floats_of(written, "experts.2.fc2.weight_scale");
  std::vector<float> row(70);
  const int32_t id = 9;
  wide->device().kernels().unpack_rows(wide->device(), wide->weights().experts[2].fc2, {&id, 1}, row.data());
  for (size_t i = 0; i < row.size(); ++i) {
    const float code = float_from_f8(f8_from_float(values[9 * 70 + i] / scales[9]));
    EXPECT_EQ(row[i], code * scales[9]) << i;
  }
}

TEST(FuseMoeLoad, RefusesCodesOfFp8ThatAreNoNumbers) {
  const ScratchFolder folder;
  FuseMoe::load(make_device(), kSmall, {WeightDtype::f8}, {})->save(folder.path(), {});
  std::string bytes = file_bytes(folder.file("model.safetensors"));
  const SafetensorsFile file(folder.file("model.safetensors"));
  bytes[file.find("experts.0.fc1.weight")->offset + 200] = 0x7f;
  folder.write("model.safetensors", bytes);
  for (const WeightDtype dtype : {WeightDtype::as_stored, WeightDtype::f32}) {
    try {
      FuseMoe::load(make_device(), folder.path(), {dtype}, {});
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::model_validation_failed);
      EXPECT_NE(error.message().find("element 200"), std::string::npos) << error.message();
    }
  }
}

TEST(FuseMoeSave, Int8OnDiskBecomesFloatsOfTheSameValues) {
  const ScratchFolder folder;
  FuseMoe::load(make_device(), kSmall, {WeightDtype::i8}, {})->save(folder.path(), {});
  const auto wide = FuseMoe::load(make_device(), folder.path(), {WeightDtype::f32}, {});
  EXPECT_EQ(wide->weight_dtype(), WeightDtype::f32);
  const SafetensorsFile written(folder.file("model.safetensors")), stored(kSmall + "/model.safetensors");
  const std::vector<float> scales = floats_of(written, "experts.1.fc1.weight_scale");
  const std::vector<float> values = floats_of(stored, "experts.1.fc1.weight");
  std::vector<float> row(83);
  const int32_t id = 5;
  wide->device().kernels().unpack_rows(wide->device(), wide->weights().experts[1].fc1, {&id, 1}, row.data());
  expect_near(row, std::span(values).subspan(5 * 83, 83), scales[5] * 0.5001F, "row 5");
}

TEST(FuseMoeRandom, DependsOnTheSeedAlone) {
  const FuseMoeConfig config{
      .n_experts = 4, .top_k = 2, .input_dim = 300, .expert_hidden_dim = 130, .output_dim = 70};
  const auto create = [&](uint64_t seed, int n_threads) {
    return FuseMoe::create_random(make_device("", n_threads), config, seed, {}, {})->checksum();
  };
  EXPECT_EQ(create(1, 1), create(1, 3));
  EXPECT_NE(create(1, 1), create(2, 1));
}

struct Refusal {
  Status status;
  std::string text;
};

Refusal refusal_of(const std::string& path) {
  Status planned = Status::ok;
  try {
    FuseMoe::plan(path, {});
  } catch (const Error& error) {
    planned = error.status();
  }
  try {
    FuseMoe::load(make_device(), path, {}, {});
  } catch (const Error& error) {
    if (planned != Status::ok) {
      EXPECT_EQ(planned, error.status());
    }
    return {error.status(), error.message()};
  }
  return {Status::ok, "accepted"};
}

struct Copy {
  ScratchFolder folder;
  std::string config = file_bytes(kSmall + "/config.json");
  std::string weights = file_bytes(kSmall + "/model.safetensors");

  Refusal refusal() {
    folder.write("config.json", config);
    folder.write("model.safetensors", weights);
    return refusal_of(folder.path());
  }
  void replace(std::string& text, const std::string& from, const std::string& to) {
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
  }
};

void expect_refusal(const Refusal& refusal, Status status, const std::vector<std::string>& words) {
  EXPECT_EQ(refusal.status, status) << refusal.text;
  for (const std::string& word : words) {
    EXPECT_NE(refusal.text.find(word), std::string::npos) << "'" << word << "' in: " << refusal.text;
  }
}

TEST(FuseMoeLoad, NamesWhatIsMissing) {
  const ScratchFolder folder;
  expect_refusal(refusal_of(folder.file("nowhere")), Status::model_file_missing, {"nowhere"});
  expect_refusal(refusal_of(folder.path()), Status::model_file_missing, {"config.json"});
  Copy copy;
  copy.replace(copy.weights, "experts.3.fc2.bias", "experts.3.fc2.bios");
  expect_refusal(copy.refusal(), Status::model_load_failed, {"experts.3.fc2.bias"});
}

TEST(FuseMoeLoad, NamesATensorOfAnotherShapeWithBoth) {
  Copy copy;
  copy.replace(copy.config, "\"input_dim\": 83", "\"input_dim\": 84");
  expect_refusal(copy.refusal(), Status::model_load_failed, {"gate.norm.weight", "[83]", "[84]"});
}

TEST(FuseMoeLoad, NamesATensorThatHasNoPlace) {
  Copy copy;
  copy.replace(copy.config, "\"num_experts\": 5", "\"num_experts\": 4");
  expect_refusal(copy.refusal(), Status::model_load_failed, {"[5,83]", "[4,83]"});
}

TEST(FuseMoeLoad, RefusesABadConfiguration) {
  Copy copy;
  copy.replace(copy.config, "\"top_k\": 3", "\"top_k\": 6");
  expect_refusal(copy.refusal(), Status::model_load_failed, {"top_k", "6", "1 to 5"});
  copy.config = "{";
  expect_refusal(copy.refusal(), Status::model_load_failed, {"config.json"});
  copy.config = "{\"model_type\": \"bert\"}";
  expect_refusal(copy.refusal(), Status::model_load_failed, {"model_type", "fuse_moe", "bert"});
}

TEST(FuseMoeLoad, RefusesWeightsThatAreNotFinite) {
  Copy copy;
  const SafetensorsFile file(kSmall + "/model.safetensors");
  const uint64_t at = file.find("experts.2.fc1.weight")->offset + 4 * 100;
  copy.weights.replace(at, 4, std::string("\0\0\x80\x7f", 4));
  expect_refusal(copy.refusal(), Status::model_validation_failed, {"experts.2.fc1.weight", "element 100"});
}

TEST(FuseMoeLoad, RefusesACutFile) {
  Copy copy;
  copy.weights.resize(copy.weights.size() - 1);
  expect_refusal(copy.refusal(), Status::model_load_failed, {"model.safetensors"});
}

TEST(FuseMoeLoad, RefusesABudgetThatIsOneByteTooSmallAndTakesNothing) {
  const uint64_t needed = FuseMoe::plan(kSmall, {}).weight_bytes;
  const auto enough = make_device("", 2, needed);
  EXPECT_EQ(FuseMoe::load(enough, kSmall, {}, {})->plan().weight_bytes, needed);
  const auto device = make_device("", 2, needed - 1);
  try {
    FuseMoe::load(device, kSmall, {}, {});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::budget_exceeded);
  }
  EXPECT_EQ(device->memory().stats().used_bytes, 0u);
}

// Every allocation of the device that a load and a pass make, failing in turn.
TEST(FuseMoeLoad, LeavesNothingWhereverAnAllocationFails) {
  for (int64_t n = 0;; ++n) {
    const auto raw = std::make_shared<CountingMemory>();
    const auto device = make_device("", 2, 0, raw);
    raw->fail_from(n);
    try {
      fuse_expected(*FuseMoe::load(device, kSmall, {}, {}));
      EXPECT_GE(n, 2);
      break;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::out_of_memory);
      EXPECT_EQ(device->memory().stats().used_bytes, 0u) << n;
    }
    ASSERT_LT(n, 20);
  }
}

TEST(FuseMoe, AnswersSeveralThreadsAtOnce) {
  const auto model = FuseMoe::load(make_device(), kSmall, {}, {});
  const std::vector<float> expected = fuse_expected(*model).values;
  std::atomic<int> n_same{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 20; ++n) n_same += same_bits(fuse_expected(*model).values, expected) ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(n_same, 80);
}

}  // namespace
}  // namespace nanochat::testing
