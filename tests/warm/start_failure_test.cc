// Every way in which a start fails, with real files: TC-WARM-002, 003, 009, 010, 011. Nothing is left then.
#include <bit>
#include <cstring>
#include <functional>

#include "io/safetensors.h"
#include "warm/diagnostics.h"
#include "warm/sample_fleet_fixture.h"

namespace nanochat {
namespace {

using testing::FleetCopy;
using testing::open_fleet;
using testing::process_facts;

// The error of a start that must fail, after it was checked that it left nothing.
Error failed_start(const std::shared_ptr<Device>& device, const std::string& manifest,
                   const LoadWatch& watch = {}) {
  const auto before = process_facts();
  const uint64_t used = device->memory().stats().used_bytes;
  Error caught(Status::ok);
  try {
    open_fleet(manifest, device)->warm(watch);
    ADD_FAILURE() << "the start succeeded";
  } catch (const Error& error) {
    caught = error;
  }
  EXPECT_EQ(device->memory().stats().used_bytes, used);
  EXPECT_EQ(process_facts().n_descriptors, before.n_descriptors);
  EXPECT_LE(testing::n_threads_left(before.n_threads), before.n_threads);
  return caught;
}

std::string field(const Error& error, std::string_view name) {
  for (const Error::Field& each : error.fields()) {
    if (each.name == name) return each.text;
  }
  return "(no field " + std::string(name) + ")";
}

void flip_bit(const std::string& path, uint64_t offset, int bit) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  const auto byte = static_cast<char>(file.get() ^ (1 << bit));
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(byte);
}

Json& component(Json& manifest, std::string_view id) {
  Json& list = manifest["components"];
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i]["id"].get<std::string>() == id) return list[i];
  }
  throw std::runtime_error("no component " + std::string(id));
}

class WarmStartFails : public testing::DeviceTest {};
NANOCHAT_ON_EVERY_KIND_OF_DEVICE(WarmStartFails);

TEST(WarmStartFailsOnTheHost, WhenACardIsRequired107) {
  const FleetCopy fleet;
  fleet.edit_manifest([](Json& manifest) { manifest["config"]["profile"] = std::string("rtx_5090"); });
  const Error error = failed_start(testing::make_device(), fleet.manifest());
  EXPECT_EQ(error.status(), Status::cuda_capability_insufficient);
  EXPECT_EQ(field(error, "required_cc"), "12.0");
}

TEST_P(WarmStartFails, WithoutAWeightFile101) {
  const FleetCopy fleet;
  std::filesystem::remove(fleet.weights("E5_Causal"));
  const Error error = failed_start(device_, fleet.manifest());
  EXPECT_EQ(error.status(), Status::model_file_missing);
  EXPECT_EQ(field(error, "model_id"), "E5_Causal");
  EXPECT_NE(error.message().find(fleet.path()), std::string::npos) << error.message();
  EXPECT_FALSE(error.hint().empty());
}

TEST_P(WarmStartFails, WithATruncatedFile102) {
  const FleetCopy fleet;
  std::filesystem::resize_file(fleet.weights("E7_Code"),
                               std::filesystem::file_size(fleet.weights("E7_Code")) - 1);
  const Error error = failed_start(device_, fleet.manifest());
  EXPECT_EQ(error.status(), Status::model_load_failed);
  EXPECT_EQ(field(error, "model_id"), "E7_Code");
}

// A hundred places over all files of weights, at random but the same every time.
TEST_P(WarmStartFails, WithAnyBitFlipped103) {
  const FleetCopy fleet;
  std::vector<std::string> ids;
  for (const ComponentSpec& spec : read_manifest(fleet.manifest()).components) {
    if (has_weights(spec.kind)) ids.push_back(spec.id);
  }
  uint64_t state = 7;
  for (int64_t i = 0; i < size(100, 20); ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const std::string& id = ids[static_cast<size_t>(i) % ids.size()];
    const std::string path = fleet.weights(id);
    const uint64_t size = std::filesystem::file_size(path);
    uint64_t header = 0;
    std::ifstream(path, std::ios::binary).read(reinterpret_cast<char*>(&header), sizeof header);
    const uint64_t begin = sizeof header + header;
    const uint64_t offset = begin + (state >> 20) % (size - begin);
    const int bit = static_cast<int>(state >> 60) % 8;
    flip_bit(path, offset, bit);
    const Error error = failed_start(device_, fleet.manifest());
    EXPECT_EQ(error.status(), Status::model_validation_failed)
        << id << " at " << offset << ": " << error.message();
    EXPECT_EQ(field(error, "model_id"), id);
    flip_bit(path, offset, bit);
  }
  open_fleet(fleet.manifest(), device_)->warm({});
}

TEST_P(WarmStartFails, WithAValueThatIsNotFinite103) {
  const FleetCopy fleet;
  const std::string path = fleet.weights("E11_Entity");
  const SafetensorsFile file(path);
  const TensorInfo info = file.tensors().back();
  {
    std::fstream out(path, std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(static_cast<std::streamoff>(info.offset + 4));
    const uint32_t nan = 0x7FC00000;
    out.write(reinterpret_cast<const char*>(&nan), sizeof nan);
  }
  const Error error = failed_start(device_, fleet.manifest());
  EXPECT_EQ(error.status(), Status::model_validation_failed);
  EXPECT_EQ(field(error, "tensor"), info.name);
  EXPECT_EQ(field(error, "index"), "1");
}

TEST_P(WarmStartFails, WithAnotherWidth110) {
  const FleetCopy fleet;
  fleet.edit_manifest([](Json& manifest) { component(manifest, "E8_Graph")["dimension"] = int64_t{385}; });
  const Error error = failed_start(device_, fleet.manifest());
  EXPECT_EQ(error.status(), Status::model_dimension_mismatch);
  EXPECT_EQ(field(error, "model_id"), "E8_Graph");
  EXPECT_EQ(field(error, "expected"), "385");
}

TEST_P(WarmStartFails, WithAnAnswerThatDiffers103) {
  const FleetCopy fleet;
  // The reference of another text, so every number of it is a real one.
  fleet.edit_manifest([](Json& manifest) {
    component(manifest, "E6_Sparse")["test"]["text"] = std::string("something else entirely");
  });
  const Error error = failed_start(device_, fleet.manifest());
  EXPECT_EQ(error.status(), Status::model_validation_failed);
  EXPECT_EQ(field(error, "model_id"), "E6_Sparse");
}

TEST_P(WarmStartFails, OverTheBudget104WithoutALoad) {
  const FleetCopy fleet;
  fleet.edit_manifest([](Json& manifest) { manifest["config"]["vram_budget_bytes"] = int64_t{100000}; });
  std::string seen;
  const Error error = failed_start(device_, fleet.manifest(),
                                   {nullptr,
                                    [&](const LoadProgress& progress) {
                                      seen = progress.id;
                                      return true;
                                    },
                                    {}});
  EXPECT_EQ(error.status(), Status::vram_insufficient_total);
  EXPECT_EQ(field(error, "available_bytes"), "100000");
  EXPECT_EQ(seen, "");
  EXPECT_TRUE(error.message().starts_with("Insufficient VRAM: required 0.")) << error.message();
}

TEST_P(WarmStartFails, WithoutHeadroom105) {
  const FleetCopy fleet;
  fleet.edit_manifest([](Json& manifest) { manifest["config"]["vram_headroom_bytes"] = int64_t{1} << 50; });
  const Error error = failed_start(device_, fleet.manifest());
  EXPECT_EQ(error.status(), Status::vram_insufficient_headroom);
  EXPECT_EQ(field(error, "headroom_required"), std::to_string(int64_t{1} << 50));
}

TEST_P(WarmStartFails, WhenItIsCancelledAtAnyPoint) {
  for (int64_t stop_at = 0; stop_at < 1000; stop_at += size(1, 9)) {
    int64_t n_seen = 0;
    const uint64_t used = device_->memory().stats().used_bytes;
    const auto fleet = open_fleet(testing::sample_fleet() + "/manifest.json", device_);
    try {
      fleet->warm({nullptr, [&](const LoadProgress&) { return n_seen++ < stop_at; }, {}});
      EXPECT_GT(stop_at, 10);  // that many reports at least
      return;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::cancelled);
    }
    EXPECT_EQ(device_->memory().stats().used_bytes, used);
    EXPECT_EQ(fleet->registry().count(WarmState::warm), 0u);
  }
  FAIL() << "never ran to the end";
}

}  // namespace
}  // namespace nanochat
