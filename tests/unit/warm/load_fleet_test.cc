// A fleet as one transaction: all components become warm, or nothing of them is left.
#include <fstream>

#include "unit/warm/small_fleet.h"

namespace nanochat::testing {
namespace {

constexpr size_t kComponents = 10;

TEST(LoadFleet, MakesEveryComponentWarm) {
  const SmallFleet files;
  const PlannedFleet fleet = files.plan();
  const auto device = make_device();
  load_fleet(*fleet.registry, device, fleet.config, {});
  EXPECT_TRUE(fleet.registry->all_warm());
  EXPECT_EQ(fleet.registry->count(WarmState::warm), kComponents);
  uint64_t planned = 0;
  for (size_t i = 0; i < kComponents; ++i) planned += fleet.registry->plan(i).model_bytes;
  EXPECT_EQ(device->memory().stats().model_bytes, planned);
}

}  // namespace
}  // namespace nanochat::testing
