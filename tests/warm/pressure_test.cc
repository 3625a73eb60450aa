// What happens around a warm fleet: other processes that want memory (TC-WARM-013), replaced components,
// shutting down, a thousand lives.
#include <atomic>
#include <thread>

#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "warm/sample_fleet_fixture.h"

namespace nanochat {
namespace {

using testing::ask;
using testing::FleetCopy;
using testing::make_device;
using testing::open_fleet;
using testing::process_facts;
using testing::warm_sample_fleet;

TEST(WarmPressure, AnotherProcessThatTakesMemoryChangesNothing) {
  const auto fleet = warm_sample_fleet();
  fleet->verify_resident({});
  const std::vector<float> answer = ask(*fleet, "steady").values;
  int pipes[2];
  ASSERT_EQ(::pipe(pipes), 0);
  const pid_t child = ::fork();
  if (child == 0) {  // nothing of the library here: only system calls
    constexpr size_t kBytes = size_t{512} << 20;
    auto* const taken = static_cast<char*>(
        ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (taken == MAP_FAILED) ::_exit(1);
    for (size_t i = 0; i < kBytes; i += 4096) taken[i] = 1;
    const char done = 1;
    ::_exit(::write(pipes[1], &done, 1) == 1 && ::pause() == 0 ? 0 : 1);
  }
  char done = 0;
  ASSERT_EQ(::read(pipes[0], &done, 1), 1);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(ask(*fleet, "steady").values, answer);
  EXPECT_EQ(check_full(*fleet, {}).health, Health::healthy);
  fleet->verify_resident({});
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(pipes[0]);
  ::close(pipes[1]);
}

TEST(WarmPressure, ExhaustedWorkingMemoryFailsTheRequestAndNoModel) {
  // What the fleet takes and a little more.
  const std::string manifest = testing::sample_fleet() + "/manifest.json";
  const uint64_t needed = open_fleet(manifest)->plan().model_bytes;
  const auto device = make_device("", 2, needed + (uint64_t{4} << 20));
  WarmSettings settings;
  settings.headroom_bytes = 0;
  const auto fleet = open_fleet(manifest, device, settings);
  fleet->warm({});
  const std::string_view texts[] = {"steady"};
  const std::vector<float> answer = fleet->embed("E1_Semantic", texts, {}).values;
  const std::vector<std::string_view> many(1000, "a b c d e f g h i j k l m n o p q r s t u v w x y z");
  {
    device->memory().reclaim();
    const Block rest = device->memory().allocate(PoolKind::working, uint64_t{7} << 19, "test");
    try {
      fleet->embed("E1_Semantic", many, {});
      ADD_FAILURE() << "there was memory";
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::working_memory_exhausted) << error.message();
    }
  }
  EXPECT_EQ(fleet->embed("E1_Semantic", texts, {}).values, answer);
  EXPECT_EQ(fleet->registry().count(WarmState::warm), 13u);
}

TEST(WarmReplacement, NeverFailsARequestAndGivesTheOldMemoryBack) {
  const FleetCopy copy;
  const auto device = make_device();
  const auto fleet = open_fleet(copy.manifest(), device);
  fleet->warm({});
  const uint64_t used = device->memory().stats().model_bytes;
  const uint64_t own = fleet->component("E8_Graph")->bytes();
  std::atomic<bool> stop{false};
  std::atomic<int64_t> n_answers{0}, n_failures{0};
  std::vector<std::thread> askers;
  for (int i = 0; i < 2; ++i) {
    askers.emplace_back([&] {
      const std::string_view texts[] = {"steady"};
      while (!stop.load()) {
        try {
          fleet->embed("E8_Graph", texts, {});
          n_answers.fetch_add(1);
        } catch (const Error&) {
          n_failures.fetch_add(1);
        }
      }
    });
  }
  for (int i = 0; i < 10; ++i) {
    fleet->replace({.id = "E8_Graph"}, {});
    EXPECT_EQ(device->memory().stats().model_bytes, used);
  }
  stop.store(true);
  for (std::thread& asker : askers) asker.join();
  EXPECT_GT(n_answers.load(), 0);
  EXPECT_EQ(n_failures.load(), 0);
  EXPECT_LE(device->memory().stats().high_water_bytes,
            used + own + device->memory().stats().reclaimable_bytes + (uint64_t{64} << 20));
}

TEST(WarmReplacement, KeepsTheOldOneIfTheNewOneIsBad) {
  const FleetCopy copy;
  const auto fleet = open_fleet(copy.manifest());
  fleet->warm({});
  const std::string_view texts[] = {"steady"};
  const std::vector<float> answer = fleet->embed("E8_Graph", texts, {}).values;
  try {
    fleet->replace({.id = "E8_Graph", .path = copy.path() + "/E7_Code"}, {});
    ADD_FAILURE() << "another model took its place";
  } catch (const Error&) {
  }
  EXPECT_EQ(fleet->embed("E8_Graph", texts, {}).values, answer);
  EXPECT_EQ(check_full(*fleet, {}).health, Health::healthy);
}

TEST(WarmReplacement, WaitsForWhoeverHoldsTheOldOne) {
  const auto device = make_device();
  const auto fleet = warm_sample_fleet(device);
  const uint64_t used = device->memory().stats().model_bytes;
  auto held = fleet->component("E8_Graph");
  const uint64_t own = held->bytes();
  const auto replace = [&] {
    fleet->replace({.id = "E8_Graph", .drain = std::chrono::milliseconds(10)}, {});
  };
  try {
    replace();
    ADD_FAILURE() << "the old one was given back while it was held";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::deadline_exceeded);
  }
  EXPECT_EQ(device->memory().stats().model_bytes, used + own);
  try {
    replace();  // a third one beside those two
    ADD_FAILURE() << "there are three of it";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::invalid_state);
  }
  EXPECT_EQ(device->memory().stats().model_bytes, used + own);
  held.reset();
  replace();
  EXPECT_EQ(device->memory().stats().model_bytes, used);
}

TEST(WarmShutDown, LetsRequestsFinishAndRefusesNewOnes) {
  const auto device = make_device();
  const auto fleet = warm_sample_fleet(device);
  auto held = fleet->component("FuseMoE");
  try {
    fleet->shut_down(std::chrono::milliseconds(10));
    ADD_FAILURE() << "the fusion was released while it was held";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::deadline_exceeded);
    EXPECT_EQ(error.subject(), "FuseMoE");
  }
  EXPECT_THROW(ask(*fleet, "too late"), Error);
  EXPECT_GT(device->memory().stats().model_bytes, 0u);
  held.reset();
  fleet->shut_down(std::chrono::milliseconds(1000));
  EXPECT_EQ(device->memory().stats().model_bytes, 0u);
  fleet->shut_down(std::chrono::milliseconds(0));
}

// What malloc has given and not got back, by its own count.
size_t allocated_bytes() {
  const auto facts = ::mallinfo2();
  return facts.uordblks + facts.hblkhd;
}

TEST(WarmCycles, AThousandLivesLeaveNothing) {
  const auto device = make_device();
  const std::string manifest = testing::sample_fleet() + "/manifest.json";
  const auto live = [&] {
    const auto fleet = open_fleet(manifest, device);
    fleet->warm({});
    fleet->shut_down(std::chrono::milliseconds(1000));
    device->memory().reclaim();
  };
  for (int i = 0; i < 50; ++i) live();
  const auto before = process_facts();
  [[maybe_unused]] const size_t allocated = allocated_bytes();
  const char* const asked = std::getenv("NANOCHAT_WARM_CYCLES");
  const int n = asked == nullptr ? 100 : std::atoi(asked);
  for (int i = 0; i < n; ++i) live();
  const auto after = process_facts();
  EXPECT_EQ(after.n_descriptors, before.n_descriptors);
  EXPECT_LE(testing::n_threads_left(before.n_threads), before.n_threads);
  EXPECT_EQ(device->memory().stats().used_bytes, 0u);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LE(allocated_bytes(), allocated + (size_t{64} << 10));
  // What malloc keeps of freed memory in its arenas goes up and down by 3 MB, however many lives there were.
  EXPECT_LE(after.resident_bytes, before.resident_bytes + (uint64_t{8} << 20));
#endif
}

}  // namespace
}  // namespace nanochat
