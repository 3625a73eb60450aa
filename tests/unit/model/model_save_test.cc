#include <cmath>

#include "base/error.h"
#include "unit/io/scratch_folder.h"
#include "unit/model/model_fixture.h"

namespace nanochat::testing {
namespace {

const std::vector<int32_t> kTokens = {3, 1, 4, 1, 5, 9, 2, 6, 5, 35};

class SavedModel : public DeviceTest {};
NANOCHAT_ON_EVERY_KIND_OF_DEVICE(SavedModel);

TEST_P(SavedModel, GivesTheSameBitsWhenItIsLoadedAgain) {
  std::vector<std::string> paths = {model_path("stories260K"), model_path("hf_llama_gqa_sharded"),
                                    model_path("hf_nanochat")};
  const std::vector<std::string> cases = sizes(golden_cases(), {"v0_odd_vocab", "v1_ve_even_layers"});
  for (const std::string& name : cases) paths.push_back(golden_path(name));
  for (const std::string& path : paths) {
    for (const WeightDtype dtype : {WeightDtype::as_stored, WeightDtype::bf16}) {
      const auto model = load(path, device_, {dtype});
      const ScratchFolder folder;
      model->save(folder.file("new/model"), {});
      const auto again = load(folder.file("new/model"), device_);
      EXPECT_EQ(again->config(), model->config()) << path;
      EXPECT_EQ(again->weight_dtype(), model->weight_dtype());
      EXPECT_EQ(again->plan().weight_bytes, model->plan().weight_bytes);
      EXPECT_TRUE(same_bits(logits_of(again, kTokens), logits_of(model, kTokens))) << path;
      again->save(folder.file("new/model"), {});  // over itself
      EXPECT_EQ(load(folder.file("new/model"))->checksum(), again->checksum());
    }
  }
}

TEST_P(SavedModel, IsTheSameFileOnEveryDevice) {
  for (const WeightDtype dtype : {WeightDtype::f32, WeightDtype::bf16, WeightDtype::i8}) {
    const ScratchFolder here, there;
    load(golden_path("v1_chunked"), make_device("reference"), {dtype})->save(here.path(), {});
    load(golden_path("v1_chunked"), device_, {dtype})->save(there.path(), {});
    EXPECT_TRUE(file_bytes(there.file("weights.safetensors")) ==
                file_bytes(here.file("weights.safetensors")));
    EXPECT_TRUE(file_bytes(there.file("config.json")) == file_bytes(here.file("config.json")));
  }
}

TEST(ModelSave, ARandomModelKeepsItsChecksum) {
  for (const WeightDtype dtype : {WeightDtype::f32, WeightDtype::bf16}) {
    const auto model = Model::create_random(make_device(), nanochat_shape("v1-d1"), 7, {dtype}, {});
    const ScratchFolder folder;
    model->save(folder.path(), {});
    EXPECT_EQ(load(folder.path())->checksum(), model->checksum());
  }
}

TEST(ModelSave, RefusesAFolderThatWouldBeLoadedFromAnotherFile) {
  const auto model = load(golden_path("v0_mha"));
  const ScratchFolder folder;
  folder.write("model.safetensors", "");
  try {
    model->save(folder.path(), {});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::invalid_argument);
    EXPECT_NE(error.message().find("model.safetensors"), std::string::npos) << error.message();
  }
}

TEST(ModelSave, StoppedOrFailedItLeavesTheOldFile) {
  const auto first = load(golden_path("v0_mha")), second = load(golden_path("v0_mqa"));
  const ScratchFolder folder;
  first->save(folder.path(), {});
  const std::string before = file_bytes(folder.file("weights.safetensors"));
  for (int last = 0; last < 5; ++last) {
    int n = 0;
    Watch watch;
    watch.on_progress = [&](const Progress&) { return n++ < last; };
    EXPECT_THROW(second->save(folder.path(), watch), Error);
    int n_writes = 0;
    set_file_fault([&](const char* call, const std::string&) {
      return std::string_view(call).starts_with("write") && n_writes++ == last ? 28 : 0;  // ENOSPC
    });
    EXPECT_THROW(second->save(folder.path(), {}), Error);
    set_file_fault({});
    EXPECT_TRUE(file_bytes(folder.file("weights.safetensors")) == before);
  }
  EXPECT_EQ(load(folder.path())->checksum(), first->checksum());
}

TEST(RandomModel, DependsOnTheSeedAlone) {
  const ModelConfig config = nanochat_shape("v1-d1");
  const auto random = [&](uint64_t seed, int n_threads) {
    return Model::create_random(make_device("", n_threads), config, seed, {}, {})->checksum();
  };
  EXPECT_EQ(random(5, 1), random(5, 3));
  EXPECT_FALSE(random(5, 1) == random(6, 1));
}

class RandomModelOn : public DeviceTest {};
NANOCHAT_ON_EVERY_DEVICE(RandomModelOn);

TEST_P(RandomModelOn, IsTheSameOnEveryDeviceAndInBothDtypes) {
  const ModelConfig config = nanochat_shape("v1-d1");
  const auto rows_on = [&](const std::shared_ptr<Device>& device, WeightDtype dtype) {
    const auto model = Model::create_random(device, config, 5, {dtype}, {});
    const std::vector<int32_t> ids = {0, 1};
    std::vector<float> rows = rows_of(*model, model->weights().layers[0].mlp_out, ids);
    for (float& value : rows) value = float_from_bf16(bf16_from_float(value));
    return rows;
  };
  const std::vector<float> expected = rows_on(make_device("reference"), WeightDtype::f32);
  EXPECT_EQ(rows_on(device_, WeightDtype::f32), expected);
  EXPECT_EQ(rows_on(device_, WeightDtype::bf16), expected);
}

// Mean, deviation and even filling of the range, each within five standard errors of the uniform
// distribution that model.h promises.
TEST(RandomModel, DrawsMatricesFromAnEvenDistributionOfTheDeviationItPromises) {
  const ModelConfig config = nanochat_shape("v0-d2");
  const auto model = Model::create_random(make_device(), config, 9, {WeightDtype::f32}, {});
  const double deviation = 1.0 / std::sqrt(static_cast<double>(config.n_embd));
  for (const PackedMatrix& matrix : {model->weights().layers[0].mlp_in, model->weights().lm_head}) {
    std::vector<int32_t> ids(256);
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
    std::vector<float> values(ids.size() * static_cast<size_t>(matrix.k));
    model->device().kernels().unpack_rows(model->device(), matrix, ids, values.data());
    constexpr int kBins = 16;
    double sum = 0, sum_of_squares = 0, counts[kBins] = {};
    for (const float value : values) {
      const double unit = (value / (std::sqrt(3.0) * deviation) + 1) / 2;
      ASSERT_TRUE(unit > 0 && unit < 1) << value;
      ASSERT_NE(value, 0.0F);
      ++counts[static_cast<int>(unit * kBins)];
      sum += value;
      sum_of_squares += value * value;
    }
    const auto n = static_cast<double>(values.size());
    EXPECT_NEAR(sum / n, 0, 5 * deviation / std::sqrt(n));
    // A squared uniform number of variance 1 has the variance 9/5 - 1.
    EXPECT_NEAR(sum_of_squares / n / (deviation * deviation), 1, 5 * std::sqrt(0.8 / n));
    for (const double count : counts) EXPECT_NEAR(count, n / kBins, 5 * std::sqrt(n / kBins));
  }
}

TEST(RandomModel, TakesWhatItsPlanSays) {
  const auto device = make_device();
  const auto model = Model::create_random(device, nanochat_shape("v0-d2"), 5, {WeightDtype::bf16}, {});
  EXPECT_EQ(device->memory().stats().model_bytes, model->plan().weight_bytes);
  EXPECT_EQ(model->plan().n_parameters, 2 * 65536 * 128 + 2 * 12 * 128 * 128);
}

TEST(RandomModel, RefusesAConfigurationThatDoesNotAgreeWithItself) {
  ModelConfig config = nanochat_shape("v0-d2");
  config.window_left.pop_back();
  EXPECT_THROW(Model::create_random(make_device(), config, 5, {}, {}), Error);
}

}  // namespace
}  // namespace nanochat::testing
