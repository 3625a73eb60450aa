// Readers of a registry against the thread that changes it.
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "unit/warm/registry_fixture.h"

namespace nanochat {
namespace {

using std::chrono::milliseconds;

// Starts threads that repeat a body until they are told to stop, and joins them.
class Readers {
 public:
  template <class F>
  Readers(int n, const F& body) {
    for (int i = 0; i < n; ++i) {
      threads_.emplace_back([this, body] {
        while (!is_over_.load()) {
          body();
          n_rounds_.fetch_add(1, std::memory_order_relaxed);
        }
      });
    }
  }
  ~Readers() { stop(); }
  void stop() {
    is_over_.store(true);
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }
  // Until each has had its chance, however busy the machine is.
  void wait_for(int64_t rounds) const {
    while (n_rounds_.load() < rounds) std::this_thread::yield();
  }

 private:
  std::atomic<bool> is_over_{false};
  std::atomic<int64_t> n_rounds_{0};
  std::vector<std::thread> threads_;
};

TEST(RegistryThreads, AReaderAlwaysHoldsAWholeComponentWhileItIsReplaced) {
  const auto registry = Registry::create({item_of("A", 100), item_of("B", 100)});
  bring_to(*registry, 0, WarmState::warm);
  bring_to(*registry, 1, WarmState::warm);
  std::atomic<int64_t> n_missing{0}, n_wrong{0};
  Readers readers(3, [&] {
    const auto held = registry->acquire(0);
    if (held == nullptr) {
      ++n_missing;
    } else if (held->spec().id != "A") {
      ++n_wrong;
    }
    if (registry->state(0) != WarmState::warm || !registry->all_warm()) ++n_wrong;
  });
  for (int round = 0; round < 100; ++round) {
    registry->replace(0, computed_component("A"));
    ASSERT_EQ(registry->drain(0, milliseconds(60'000)), 0);
  }
  readers.wait_for(100);
  readers.stop();
  EXPECT_EQ(n_missing, 0) << "a request would have failed";
  EXPECT_EQ(n_wrong, 0);
}

TEST(RegistryThreads, AStatusIsReadWholeWhileTestsAreRecorded) {
  const auto registry = Registry::create({item_of("A", 100)});
  bring_to(*registry, 0, WarmState::warm);
  const std::string longest(200, 'x');
  std::atomic<int64_t> n_wrong{0};
  Readers readers(3, [&] {
    const EntryStatus status = registry->status(0);
    if (status.state != WarmState::warm) ++n_wrong;
    if (!status.test_message.empty() && status.test_message != longest) ++n_wrong;
  });
  for (int64_t round = 0; round < 500; ++round) {
    registry->record_test(0, round, round % 2 == 0 ? longest : "");
  }
  readers.wait_for(100);
  readers.stop();
  EXPECT_EQ(n_wrong, 0);
}

TEST(RegistryThreads, AFailureIsToldWithItsMessageOnceItsStateIsSeen) {
  for (int round = 0; round < 40; ++round) {
    const auto registry = Registry::create({item_of("A", 100)});
    registry->start_loading(0);
    std::atomic<int64_t> n_wrong{0};
    {
      Readers readers(3, [&] {
        const EntryStatus status = registry->status(0);
        const bool is_failed = status.state == WarmState::failed;
        if (is_failed && (status.message != "gone" || status.error != Status::model_file_missing)) ++n_wrong;
      });
      registry->mark_failed(0, Error(Status::model_file_missing).say("gone"));
      readers.wait_for(4);
    }
    EXPECT_EQ(n_wrong, 0);
  }
}

TEST(RegistryThreads, OneOfManyThatStartTheSameLoadIsAllowedTo) {
  for (int round = 0; round < 40; ++round) {
    const auto registry = Registry::create({item_of("A", 100)});
    std::atomic<int> n_started{0}, n_refused{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        try {
          registry->start_loading(0);
          ++n_started;
        } catch (const Error&) {
          ++n_refused;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(n_started, 1);
    EXPECT_EQ(n_refused, 3);
  }
}

TEST(RegistryThreads, WhatIsWithdrawnIsHeldByNobodyAfterTheDrain) {
  for (int round = 0; round < 30; ++round) {
    const auto registry = Registry::create({item_of("A", 100)});
    bring_to(*registry, 0, WarmState::warm);
    std::atomic<int64_t> n_wrong{0}, n_held{0};
    std::atomic<bool> is_drained{false};
    Readers readers(3, [&] {
      const bool was_drained = is_drained.load();
      const auto held = registry->acquire(0);
      if (held != nullptr && was_drained) ++n_wrong;
      if (held != nullptr && held->spec().id != "A") ++n_wrong;
    });
    readers.wait_for(3);
    registry->withdraw(0);
    EXPECT_EQ(registry->drain(0, milliseconds(60'000)), 0);
    is_drained = true;
    readers.wait_for(20);
    readers.stop();
    EXPECT_EQ(n_wrong, 0);
  }
}

}  // namespace
}  // namespace nanochat
