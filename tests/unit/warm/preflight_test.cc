// Whether a fleet fits, with the numbers and sentences of the exit-code table. No memory is simulated: what
// is asked for is.
#include "warm/preflight.h"

#include "unit/memory/counting_memory.h"
#include "unit/warm/registry_fixture.h"

namespace nanochat::testing {
namespace {

constexpr uint64_t kGiB = uint64_t{1} << 30;

std::shared_ptr<Device> device_of(uint64_t total, uint64_t budget = 0, std::shared_ptr<Log> log = nullptr) {
  MemoryOptions options;
  options.budget_bytes = budget;
  return make_cpu_device(Memory::create(std::make_shared<CountingMemory>(total), options),
                         std::make_shared<ThreadPool>(ThreadPool::Options{.n_threads = 1}),
                         log == nullptr ? std::make_shared<Log>() : std::move(log), "");
}

std::shared_ptr<Registry> registry_of(const std::vector<std::pair<std::string, uint64_t>>& sizes) {
  std::vector<RegistryItem> items;
  for (const auto& [id, bytes] : sizes) items.push_back(item_of(id, bytes));
  return Registry::create(std::move(items));
}

WarmConfig config_of(uint64_t budget, uint64_t headroom) {
  WarmConfig config;
  config.budget_bytes = budget;
  config.headroom_bytes = headroom;
  return config;
}

Error refusal(const Registry& registry, const Device& device, const WarmConfig& config) {
  return error_of([&] { check_fleet_fits(plan_fleet(registry, device, config), device, config); });
}

TEST(Preflight, AddsUpWhatIsPlannedInTheOrderOfLoading) {
  const auto registry = registry_of({{"small", 1}, {"large", kGiB}, {"middle", 1000}});
  const FleetPlan plan = plan_fleet(*registry, *device_of(4 * kGiB), config_of(3 * kGiB, kGiB));
  EXPECT_EQ(plan.model_bytes, kGiB + 1001);
  EXPECT_EQ(plan.parts.at(0).id, "large");
  EXPECT_EQ(plan.parts.at(2).id, "small");
  EXPECT_EQ(plan.budget_bytes, 3 * kGiB);
  EXPECT_EQ(plan.device_total_bytes, 4 * kGiB);
  EXPECT_EQ(plan.device_available_bytes, 4 * kGiB);
}

TEST(Preflight, LetsPassWhatJustFits) {
  const auto registry = registry_of({{"a", kGiB}, {"b", kGiB}});
  const auto device = device_of(3 * kGiB);
  const WarmConfig config = config_of(2 * kGiB, kGiB);
  check_fleet_fits(plan_fleet(*registry, *device, config), *device, config);
}

TEST(Preflight, RefusesMoreThanTheBudget104) {
  const auto registry = registry_of({{"a", 20 * kGiB}, {"b", 10 * kGiB + kGiB / 2}});
  const Error error = refusal(*registry, *device_of(64 * kGiB), config_of(24 * kGiB, 8 * kGiB));
  EXPECT_EQ(error.status(), Status::vram_insufficient_total);
  EXPECT_EQ(error.message(), "Insufficient VRAM: required 30.50GB, available 24.00GB");
  EXPECT_EQ(field_of(error, "required_bytes"), std::to_string(30 * kGiB + kGiB / 2));
  EXPECT_EQ(field_of(error, "available_bytes"), std::to_string(24 * kGiB));
  EXPECT_EQ(field_of(error, "required_gb"), "30.5");
  EXPECT_EQ(field_of(error, "available_gb"), "24");
  EXPECT_EQ(field_of(error, "limit"), "budget");
  EXPECT_EQ(field_of(error, "model_breakdown"),
            R"([{"model_id":"a","bytes":21474836480},{"model_id":"b","bytes":11274289152}])");
  EXPECT_FALSE(error.hint().empty());
}

TEST(Preflight, RefusesMoreThanIsAvailable104) {
  const auto registry = registry_of({{"a", 5 * kGiB}});
  Error error = refusal(*registry, *device_of(4 * kGiB), config_of(24 * kGiB, 0));
  EXPECT_EQ(error.message(), "Insufficient VRAM: required 5.00GB, available 4.00GB");
  EXPECT_EQ(field_of(error, "limit"), "available");
  // What the runtime was told not to go beyond is not available either.
  error = refusal(*registry, *device_of(64 * kGiB, 2 * kGiB), config_of(24 * kGiB, 0));
  EXPECT_EQ(error.message(), "Insufficient VRAM: required 5.00GB, available 2.00GB");
}

TEST(Preflight, CountsMemoryThatIsInUse104) {
  const auto registry = registry_of({{"a", 2 * kGiB}});
  const auto device = device_of(3 * kGiB);
  const WarmConfig config = config_of(24 * kGiB, 0);
  check_fleet_fits(plan_fleet(*registry, *device, config), *device, config);
  const Block other = device->memory().allocate(PoolKind::model, kGiB + 4096, "another model");
  EXPECT_EQ(refusal(*registry, *device, config).status(), Status::vram_insufficient_total);
}

TEST(Preflight, RefusesADeviceWithTooLittleInAll104) {
  const auto registry = registry_of({{"a", 1}});
  WarmConfig config = config_of(24 * kGiB, 0);
  config.requirements.total_memory_bytes = 32 * kGiB;
  const Error error = refusal(*registry, *device_of(31 * kGiB), config);
  EXPECT_EQ(error.status(), Status::vram_insufficient_total);
  EXPECT_EQ(error.message(), "Insufficient VRAM: required 32.00GB, available 31.00GB");
  EXPECT_EQ(field_of(error, "limit"), "device_total");
}

TEST(Preflight, RefusesTooLittleHeadroom105) {
  const auto registry = registry_of({{"a", 3 * kGiB + kGiB / 4}});
  const Error error = refusal(*registry, *device_of(10 * kGiB), config_of(24 * kGiB, 8 * kGiB));
  EXPECT_EQ(error.status(), Status::vram_insufficient_headroom);
  EXPECT_EQ(error.message(),
            "Insufficient headroom: models 3.25GB, available 10.00GB, headroom required 8.00GB");
  EXPECT_EQ(field_of(error, "model_bytes"), std::to_string(3 * kGiB + kGiB / 4));
  EXPECT_EQ(field_of(error, "available_bytes"), std::to_string(10 * kGiB));
  EXPECT_EQ(field_of(error, "headroom_required"), std::to_string(8 * kGiB));
  EXPECT_EQ(field_of(error, "deficit_bytes"), std::to_string(kGiB + kGiB / 4));
  EXPECT_EQ(field_of(error, "model_gb"), "3.25");
  EXPECT_EQ(field_of(error, "headroom_gb"), "8");
}

TEST(Preflight, RefusesADeviceOfTooLittleCapability107) {
  const auto registry = registry_of({{"a", 100 * kGiB}});  // comes before the memory
  WarmConfig config = config_of(24 * kGiB, 0);
  config.requirements = {12, 0, 0};
  const Error error = refusal(*registry, *device_of(kGiB), config);
  EXPECT_EQ(error.status(), Status::cuda_capability_insufficient);
  EXPECT_EQ(error.message(), "GPU compute capability 0.0 insufficient, required 12.0");
  EXPECT_EQ(field_of(error, "actual_cc"), "0.0");
  EXPECT_EQ(field_of(error, "required_cc"), "12.0");
  EXPECT_FALSE(field_of(error, "gpu_name").empty());
  config.requirements = {0, 1, 0};
  EXPECT_EQ(refusal(*registry, *device_of(kGiB), config).status(), Status::cuda_capability_insufficient);
}

TEST(Preflight, DoesNotWrapAroundWhateverIsPlanned) {
  const uint64_t most = ~uint64_t{0};
  const auto registry = registry_of({{"a", most - 1}, {"b", most - 1}});
  const Error error = refusal(*registry, *device_of(kGiB), config_of(most - 1, most));
  EXPECT_EQ(error.status(), Status::vram_insufficient_total);
}

TEST(Preflight, TakesUnknownMemoryForEnough) {
  const auto registry = registry_of({{"a", kGiB}});
  const auto device = device_of(0);  // callbacks that do not say what they have
  const WarmConfig config = config_of(2 * kGiB, kGiB);
  check_fleet_fits(plan_fleet(*registry, *device, config), *device, config);
}

TEST(Preflight, TellsThePlanToTheLogAndWarnsOfMoreThanTheManifestExpects) {
  std::vector<std::pair<LogLevel, std::string>> lines;
  const auto log = std::make_shared<Log>(
      [&](LogLevel level, std::string_view line) { lines.emplace_back(level, line); }, LogLevel::info);
  std::vector<RegistryItem> items = {item_of("within", 104), item_of("beyond", 106)};
  for (RegistryItem& item : items) item.spec.expected_bytes = 100;
  const auto registry = Registry::create(std::move(items));
  const auto device = device_of(kGiB, 0, log);
  const WarmConfig config = config_of(kGiB, 0);
  check_fleet_fits(plan_fleet(*registry, *device, config), *device, config);
  size_t n_warnings = 0;
  for (const auto& [level, line] : lines) {
    if (level != LogLevel::warning) continue;
    ++n_warnings;
    EXPECT_EQ(line, "component beyond: 106 bytes predicted, the manifest expects 100");
  }
  EXPECT_EQ(n_warnings, 1U);
  EXPECT_EQ(lines.size(), 4U);
}

}  // namespace
}  // namespace nanochat::testing
