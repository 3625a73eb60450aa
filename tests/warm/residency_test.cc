// A warm fleet is where it says it is, stays there, and answers: TC-WARM-001, 004, 005, 007, 008, 015.
#include <cmath>

#include "infer/embed_computed.h"
#include "warm/sample_fleet_fixture.h"

namespace nanochat {
namespace {

using testing::ask;
using testing::warm_sample_fleet;

struct Mapping {
  uintptr_t begin, end;
};

// What the kernel says of the host's memory, not what the library says.
bool is_writable_memory(uint64_t address, uint64_t n_bytes) {
  std::ifstream maps("/proc/self/maps");
  uint64_t covered = address;
  for (std::string line; std::getline(maps, line);) {
    uint64_t begin = 0, end = 0;
    char dash = 0;
    std::string rights;
    std::istringstream fields(line);
    fields >> std::hex >> begin >> dash >> end >> rights;
    if (begin <= covered && covered < end && rights[1] == 'w') covered = end;
  }
  return covered >= address + n_bytes;
}

TEST(WarmResidency, TheManifestOfTheRealFleetHasTheSizesOfTheSpecification) {
  const Manifest manifest =
      read_manifest(std::string(NANOCHAT_SOURCE_DIR) + "/examples/c/fleet/context-graph-12.json");
  ASSERT_EQ(manifest.components.size(), 13u);
  uint64_t sum = 0;
  int64_t width = 0;
  for (const ComponentSpec& spec : manifest.components) {
    if (spec.kind != ComponentKind::fusion) sum += spec.expected_bytes;
    for (const FusionPart& part : spec.parts) width += part.width;
  }
  EXPECT_EQ(width, 8320);
  // FP16 of the specification's 5,545,000,000; without the 52,500,000 that it gives the four computed
  // embedders, which have no weights, and with 860 MB for E10, of which it says 800.
  EXPECT_EQ(sum, 5'545'000'000u / 2 - 52'500'000u + 60'000'000u);
}

class WarmResidencyOn : public testing::DeviceTest {
 protected:
  void overwrite(const Component& component, size_t offset, std::span<const std::byte> bytes) {
    auto* const weights = static_cast<std::byte*>(const_cast<void*>(component.address()));
    device_->copy_to_device(weights + offset, bytes.data(), bytes.size());
    device_->synchronize();
  }
};
NANOCHAT_ON_EVERY_KIND_OF_DEVICE(WarmResidencyOn);

TEST_P(WarmResidencyOn, AllThirteenAreInTheDevicesMemoryAsPlanned) {
  const uint64_t before = device_->memory().stats().model_bytes;
  const auto fleet = warm_sample_fleet(device_);
  const FleetPlan plan = fleet->plan();
  ASSERT_EQ(plan.parts.size(), 13u);
  EXPECT_EQ(device_->memory().stats().model_bytes - before, plan.model_bytes);
  const HealthReport report = check_full(*fleet, {});
  EXPECT_EQ(report.health, Health::healthy);
  ASSERT_EQ(report.components.size(), 13u);
  uint64_t sum = 0;
  for (const ComponentHealth& component : report.components) {
    EXPECT_EQ(component.entry.state, WarmState::warm) << component.id;
    EXPECT_TRUE(component.entry.test_passed) << component.id << ": " << component.entry.test_message;
    EXPECT_GE(component.entry.last_latency_us, 0) << component.id;
    sum += component.allocation_bytes;
    if (!has_weights(component.kind)) {
      EXPECT_EQ(component.address, 0u) << component.id;
      EXPECT_EQ(component.allocation_bytes, 0u) << component.id;
      continue;
    }
    EXPECT_TRUE(component.is_resident) << component.id;
    const auto* const address = reinterpret_cast<const void*>(static_cast<uintptr_t>(component.address));
    EXPECT_TRUE(device_->is_resident(address, component.allocation_bytes)) << component.id;
    if (device_->is_host()) {
      EXPECT_TRUE(is_writable_memory(component.address, component.allocation_bytes)) << component.id;
    }
    EXPECT_EQ(component.allocation_bytes,
              fleet->registry().plan(fleet->registry().find(component.id)).model_bytes);
  }
  EXPECT_EQ(report.metrics.total_model_bytes, sum);
}

TEST_P(WarmResidencyOn, EveryComponentGivesTheSameAsTheModelAlone) {
  const auto fleet = warm_sample_fleet(device_);
  const std::string_view texts[] = {"the quick brown fox", "a photo of a cat"};
  for (size_t i = 0; i < fleet->registry().size(); ++i) {
    const ComponentSpec& spec = fleet->registry().spec(i);
    if (spec.kind == ComponentKind::fusion || spec.kind == ComponentKind::temporal_recent ||
        spec.kind == ComponentKind::temporal_periodic || spec.kind == ComponentKind::temporal_positional) {
      continue;
    }
    const Embeddings both = fleet->embed(spec.id, texts, {});
    const Embeddings second = fleet->embed(spec.id, std::span(texts).subspan(1), {});
    ASSERT_EQ(both.n_inputs(), 2u) << spec.id;
    if (!both.bits.empty()) {
      EXPECT_EQ(both.bits[1], second.bits[0]);
      EXPECT_NE(both.bits[0], both.bits[1]);
    } else if (!both.sparse.empty()) {
      EXPECT_EQ(both.sparse[1].tokens, second.sparse[0].tokens);
      EXPECT_EQ(both.sparse[1].weights, second.sparse[0].weights);
    } else {
      const auto first = static_cast<ptrdiff_t>(both.first_row[1] * both.width);
      EXPECT_EQ(std::vector<float>(both.values.begin() + first, both.values.end()), second.values) << spec.id;
    }
  }
}

TEST_P(WarmResidencyOn, TheFusionOfAllTwelveEqualsItsFormula) {
  const auto fleet = warm_sample_fleet(device_);
  const std::string_view texts[] = {"the quick brown fox"};
  const TimePoint times[] = {{1767441600, 0.0}}, positions[] = {{17, 0.0}};
  const Embeddings fused = fleet->fuse({"", texts, times, positions}, {});
  const auto fusion = fleet->component("FuseMoE");
  const FuseMoe& moe = *fusion->fusion();
  ASSERT_EQ(fused.width, moe.config().output_dim);
  ASSERT_EQ(fused.routing.size(), 1u);
  EXPECT_EQ(std::ssize(fused.routing[0].selected_experts), moe.config().top_k);
  // The same from the public pieces: each part embedded alone, projected, put in its place.
  std::vector<float> row(static_cast<size_t>(moe.config().input_dim));
  for (const FusionProjection& projection : fusion->projections()) {
    const FusionInput& to = projection.input();
    const auto part = fleet->component(to.id);
    const std::string moment = part->spec().kind == ComponentKind::temporal_positional ? "17" : "1767441600";
    const bool is_time = part->spec().kind == ComponentKind::temporal_recent ||
                         part->spec().kind == ComponentKind::temporal_periodic ||
                         part->spec().kind == ComponentKind::temporal_positional;
    const std::string_view input[] = {is_time ? std::string_view(moment) : texts[0]};
    project_embedding(
        projection, part->embed_texts(input, {}), 0,
        std::span(row).subspan(static_cast<size_t>(to.offset), static_cast<size_t>(to.fusion_dim)));
  }
  EXPECT_EQ(moe.forward({row, 1, moe.config().input_dim}, {}).values, fused.values);
  for (const float value : fused.values) EXPECT_TRUE(std::isfinite(value));
}

TEST_P(WarmResidencyOn, TenThousandRequestsMoveAndChangeNothing) {
  const auto n_requests = static_cast<size_t>(size(10000, 40));
  const auto fleet = warm_sample_fleet(device_);
  fleet->verify_resident({});
  const HealthReport before = check_quick(*fleet);
  const std::vector<float> answer = ask(*fleet, "steady").values;
  const std::string_view texts[] = {"steady"};
  std::vector<std::string> ids;
  for (const ComponentHealth& component : before.components) {
    if (component.kind == ComponentKind::encoder) ids.push_back(component.id);
  }
  const uint64_t used = device_->memory().stats().used_bytes;
  for (size_t i = 0; i < n_requests; ++i) {
    fleet->embed(ids[i % ids.size()], texts, {});
    if (i % (n_requests / 10) != 0) continue;
    EXPECT_EQ(device_->memory().stats().used_bytes, used) << "after request " << i;
    EXPECT_EQ(ask(*fleet, "steady").values, answer) << "after request " << i;
  }
  fleet->verify_resident({});
  const HealthReport after = check_full(*fleet, {});
  EXPECT_EQ(after.health, Health::healthy);
  for (size_t i = 0; i < before.components.size(); ++i) {
    EXPECT_EQ(after.components[i].address, before.components[i].address) << before.components[i].id;
    EXPECT_EQ(after.components[i].checksum, before.components[i].checksum) << before.components[i].id;
    EXPECT_EQ(after.components[i].allocation_bytes, before.components[i].allocation_bytes);
  }
}

TEST_P(WarmResidencyOn, AComponentIsReplacedAndTheFleetAnswersAsBefore) {
  const uint64_t used = device_->memory().stats().model_bytes;
  const auto fleet = warm_sample_fleet(device_);
  fleet->verify_resident({});
  const std::vector<float> answer = ask(*fleet, "steady").values;
  const uint64_t warm = device_->memory().stats().model_bytes;
  const void* const before = fleet->component("E1_Semantic")->address();
  {
    const auto held = fleet->component("E8_Graph");  // another one stays as it is
    fleet->replace({.id = "E1_Semantic"}, {});
  }
  EXPECT_NE(fleet->component("E1_Semantic")->address(), nullptr);
  EXPECT_NE(before, nullptr);
  EXPECT_EQ(device_->memory().stats().model_bytes, warm);
  EXPECT_EQ(ask(*fleet, "steady").values, answer);
  fleet->verify_resident({});
  EXPECT_EQ(check_full(*fleet, {}).health, Health::healthy);
  fleet->shut_down(std::chrono::seconds(60));
  EXPECT_EQ(device_->memory().stats().model_bytes, used);
}

TEST_P(WarmResidencyOn, AWriteIntoWarmWeightsIsFound) {
  const auto fleet = warm_sample_fleet(device_);
  fleet->verify_resident({});
  const auto component = fleet->component("E1_Semantic");
  const size_t middle = component->bytes() / 2;
  const std::byte kept =
      testing::on_host(*device_, static_cast<const std::byte*>(component->address()) + middle, 1).front();
  const std::byte changed = kept ^ std::byte{1};
  overwrite(*component, middle, {&changed, 1});
  try {
    fleet->verify_resident({});
    FAIL() << "not found";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::model_validation_failed);
    EXPECT_EQ(error.subject(), "E1_Semantic");
  }
  overwrite(*component, middle, {&kept, 1});
  fleet->verify_resident({});
}

TEST_P(WarmResidencyOn, AFleetThatCannotAnswerAnyMoreIsDegradedAndSaysWhich) {
  const auto fleet = warm_sample_fleet(device_);
  const auto component = fleet->component("E1_Semantic");
  const std::vector<std::byte> kept =
      testing::on_host(*device_, static_cast<const std::byte*>(component->address()),
                       static_cast<int64_t>(component->bytes()));
  const std::vector<float> nans(component->bytes() / sizeof(float), NAN);
  overwrite(*component, 0, std::as_bytes(std::span(nans)));
  HealthReport report = check_full(*fleet, {});
  EXPECT_EQ(report.health, Health::degraded);
  for (const ComponentHealth& each : report.components) {
    EXPECT_EQ(each.entry.test_passed, each.id != "E1_Semantic") << each.id;
    EXPECT_EQ(each.entry.state, WarmState::warm);
  }
  EXPECT_EQ(check_quick(*fleet).health, Health::degraded);
  overwrite(*component, 0, kept);
  EXPECT_EQ(check_full(*fleet, {}).health, Health::healthy);
}

}  // namespace
}  // namespace nanochat
