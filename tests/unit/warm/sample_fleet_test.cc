// The sample fleet, the example's manifest, and known answers that a fleet records of itself.
#include "warm/sample_fleet.h"

#include <filesystem>

#include "base/file.h"
#include "unit/io/scratch_folder.h"
#include "unit/model/model_fixture.h"
#include "unit/warm/small_fleet.h"
#include "warm/health.h"
#include "warm/record.h"

namespace nanochat {
namespace {

using testing::error_of;
using testing::make_device;

// Read only.
const std::string& sample() {
  static const ScratchFolder folder;
  static const std::string path = [] {
    write_sample_fleet(make_device(), folder.path(), 1, {});
    return folder.path();
  }();
  return path;
}

std::shared_ptr<Fleet> open_fleet(const std::string& manifest,
                                  const std::shared_ptr<Device>& device = make_device()) {
  WarmSettings settings;
  settings.dump_path = "";
  settings.headroom_bytes = 0;
  return Fleet::open(device, manifest, settings);
}

// The places of a real fleet, `scale` times as wide as those of the manifest.
void expect_real_places(const Manifest& manifest, int64_t scale) {
  const auto inputs = fusion_inputs();
  ASSERT_EQ(manifest.components.size(), inputs.size() + 1);
  const ComponentSpec& fusion = manifest.components.back();
  ASSERT_EQ(fusion.id, "FuseMoE");
  ASSERT_EQ(fusion.parts.size(), inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ComponentSpec& spec = manifest.components[i];
    EXPECT_EQ(spec.id, inputs[i].id);
    EXPECT_EQ(has_weights(spec.kind), inputs[i].has_weights) << spec.id;
    EXPECT_EQ(fusion.parts[i].component, inputs[i].id);
    EXPECT_EQ(fusion.parts[i].width * scale, inputs[i].fusion_dim) << spec.id;
    EXPECT_GT(spec.dimension, 0) << spec.id;
  }
}

TEST(SampleFleet, IsTheRealOneASixteenthAsWide) {
  expect_real_places(read_manifest(sample() + "/manifest.json"), 16);
  const auto fleet = open_fleet(sample() + "/manifest.json");
  for (size_t i = 0; i < fleet->registry().size() - 1; ++i) {
    const FusionInput& input = fusion_inputs()[i];
    const FusionPart& part = fleet->registry().spec(12).parts[i];
    EXPECT_EQ(part.form, input.form) << input.id;
    const bool is_scaled = input.has_weights && input.form != EmbeddingForm::sparse;
    EXPECT_EQ(part.native_dim, is_scaled ? input.native_dim / 16 : part.native_dim) << input.id;
  }
}

TEST(SampleFleet, TakesAFewMegabytes) {
  uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(sample())) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  EXPECT_GT(bytes, uint64_t{1} << 20);
  EXPECT_LT(bytes, uint64_t{4} << 20);
}

// Recorded on the best one, within the manifest's tolerance on all.
class SampleFleetOn : public testing::DeviceTest {};
NANOCHAT_ON_EVERY_DEVICE(SampleFleetOn);

TEST_P(SampleFleetOn, AnswersAsItWasRecorded) {
  const auto fleet = open_fleet(sample() + "/manifest.json", device_);
  fleet->warm({});
  EXPECT_EQ(check_full(*fleet, {}).health, Health::healthy);
}

TEST(SampleFleet, HasNoTextWithoutTokens) {
  const auto fleet = open_fleet(sample() + "/manifest.json");
  fleet->warm({});
  std::string all;
  for (char symbol = ' '; symbol <= '~'; ++symbol) all += symbol;
  const std::string_view texts[] = {all, "na\xc3\xafve \xe2\x82\xac", ""};
  for (const char* id : {"E1_Semantic", "E5_Causal", "E7_Code", "E10_Multimodal", "E12_LateInteraction"}) {
    const Embeddings vectors = fleet->embed(id, texts, {});
    ASSERT_EQ(vectors.n_inputs(), 3u) << id;
    EXPECT_GT(vectors.n_tokens[0], 70) << id;
  }
}

TEST(SampleFleet, LeavesNothingOnTheDevice) {
  const ScratchFolder folder;
  const auto device = make_device();
  write_sample_fleet(device, folder.path(), 3, {});
  EXPECT_EQ(device->memory().stats().model_bytes, 0u);
}

TEST(ExampleManifest, HasTheRealPlacesAndWidths) {
  const Manifest manifest =
      read_manifest(std::string(NANOCHAT_SOURCE_DIR) + "/examples/c/fleet/context-graph-12.json");
  expect_real_places(manifest, 1);
  for (size_t i = 0; i < fusion_inputs().size(); ++i) {
    const FusionInput& input = fusion_inputs()[i];
    EXPECT_EQ(manifest.components[i].dimension, input.native_dim) << input.id;
    EXPECT_EQ(manifest.components[i].expected_bytes > 0, input.has_weights) << input.id;
  }
  EXPECT_EQ(manifest.components.back().dimension, 1536);
}

TEST(Record, RefusesAFleetThatIsNotWarm) {
  const ScratchFolder folder;
  const auto fleet = open_fleet(sample() + "/manifest.json");
  const Error error = error_of([&] { record_fleet(*fleet, folder.path(), {}); });
  EXPECT_EQ(error.status(), Status::invalid_state);
}

TEST(Record, GivesAManifestWithWhatTheFleetIs) {
  const ScratchFolder folder;
  const auto fleet = open_fleet(sample() + "/manifest.json");
  fleet->warm({});
  const Manifest recorded =
      parse_manifest(record_fleet(*fleet, folder.path(), {}), sample() + "/manifest.json");
  ASSERT_EQ(recorded.components.size(), 13u);
  for (const ComponentSpec& spec : recorded.components) {
    const auto component = fleet->component(spec.id);
    EXPECT_EQ(spec.dimension, component->plan().dimension);
    EXPECT_EQ(spec.expected_bytes, component->bytes());
    EXPECT_EQ(spec.checksum, has_weights(spec.kind) ? component->checksum().hex() : "");
    EXPECT_EQ(spec.test.reference, folder.path() + "/" + spec.id + ".safetensors");
    EXPECT_EQ(spec.test.text, component->spec().test.text);
    const SafetensorsFile file(spec.test.reference);
    EXPECT_EQ(file.find("input") != nullptr, spec.kind == ComponentKind::fusion);
    ASSERT_NE(file.find("output"), nullptr);
    EXPECT_GE(file.find("output")->shape[0], spec.dimension);
  }
}

TEST(Record, NeverChangesTheManifestItself) {
  const ScratchFolder folder;
  const auto fleet = open_fleet(sample() + "/manifest.json");
  fleet->warm({});
  const std::string before = read_file(sample() + "/manifest.json");
  record_fleet(*fleet, folder.path(), {});
  EXPECT_EQ(read_file(sample() + "/manifest.json"), before);
}

}  // namespace
}  // namespace nanochat
