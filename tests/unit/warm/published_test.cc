#include "warm/published.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace nanochat {
namespace {

// Says whether it is read after its end, and counts how many there are.
class Witness {
 public:
  Witness(uint64_t number, std::atomic<int64_t>& n_alive)
      : number_(number), complement_(~number), n_alive_(n_alive) {
    ++n_alive_;
  }
  ~Witness() {
    complement_ = number_;
    --n_alive_;
  }
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;
  uint64_t number() const { return number_; }
  bool is_whole() const { return complement_ == ~number_; }

 private:
  uint64_t number_;
  volatile uint64_t complement_;  // the store of the destructor stays
  std::atomic<int64_t>& n_alive_;
};

class PublishedWitness : public testing::Test {
 protected:
  std::unique_ptr<const Witness> witness(uint64_t number) {
    return std::make_unique<const Witness>(number, n_alive_);
  }
  std::atomic<int64_t> n_alive_{0};
  Published<Witness> published_;
};

TEST_F(PublishedWitness, IsEmptyAtFirst) {
  EXPECT_FALSE(published_.has_object());
  EXPECT_EQ(published_.acquire().object, nullptr);
  EXPECT_EQ(published_.collect(), 0);
}

TEST_F(PublishedWitness, GivesWhatIsCurrentToAnyNumberOfUsers) {
  published_.publish(witness(1));
  EXPECT_TRUE(published_.has_object());
  const auto a = published_.acquire(), b = published_.acquire();
  EXPECT_EQ(a.object->number(), 1u);
  EXPECT_EQ(b.object, a.object);
  published_.release(a.place);
  published_.release(b.place);
  EXPECT_EQ(n_alive_, 1);
}

TEST_F(PublishedWitness, IsNotCollectedWhileItIsCurrent) {
  published_.publish(witness(1));
  EXPECT_EQ(published_.collect(), 0);
  EXPECT_EQ(n_alive_, 1);
}

TEST_F(PublishedWitness, ReplacedStaysUntilItsLastUserHasLeft) {
  published_.publish(witness(1));
  const auto first = published_.acquire(), again = published_.acquire();
  published_.publish(witness(2));
  const auto second = published_.acquire();
  EXPECT_EQ(second.object->number(), 2u);
  EXPECT_EQ(published_.collect(), 2);
  EXPECT_TRUE(first.object->is_whole());
  published_.release(first.place);
  EXPECT_EQ(published_.collect(), 1);
  EXPECT_EQ(n_alive_, 2);
  published_.release(again.place);
  EXPECT_EQ(published_.collect(), 0);
  EXPECT_EQ(n_alive_, 1);
  EXPECT_TRUE(second.object->is_whole());
  published_.release(second.place);
}

TEST_F(PublishedWitness, WithdrawnIsGivenToNobodyAndGoesWithItsLastUser) {
  published_.publish(witness(1));
  const auto use = published_.acquire();
  published_.withdraw();
  EXPECT_FALSE(published_.has_object());
  EXPECT_EQ(published_.acquire().object, nullptr);
  EXPECT_EQ(published_.collect(), 1);
  published_.release(use.place);
  EXPECT_EQ(published_.collect(), 0);
  EXPECT_EQ(n_alive_, 0);
}

TEST_F(PublishedWitness, TakesANewObjectAfterItWasWithdrawn) {
  for (uint64_t number = 1; number < 6; ++number) {
    published_.publish(witness(number));
    const auto use = published_.acquire();
    EXPECT_EQ(use.object->number(), number);
    published_.release(use.place);
    published_.withdraw();
    EXPECT_EQ(published_.collect(), 0);
    EXPECT_EQ(n_alive_, 0);
  }
}

TEST_F(PublishedWitness, HasNoRoomWhileBothPlacesAreTaken) {
  EXPECT_TRUE(published_.has_room());
  published_.publish(witness(1));
  EXPECT_TRUE(published_.has_room());
  published_.publish(witness(2));
  EXPECT_FALSE(published_.has_room()) << "the first is not collected yet";
  EXPECT_EQ(published_.collect(), 0);
  EXPECT_TRUE(published_.has_room());
}

TEST_F(PublishedWitness, DoesNotPutANewObjectInThePlaceOfOneThatIsHeld) {
  published_.publish(witness(1));
  const auto use = published_.acquire();
  published_.withdraw();
  published_.publish(witness(2));
  EXPECT_TRUE(use.object->is_whole());
  EXPECT_EQ(use.object->number(), 1u);
  EXPECT_EQ(n_alive_, 2);
  EXPECT_EQ(published_.collect(), 1);
  published_.release(use.place);
  EXPECT_EQ(published_.collect(), 0);
  EXPECT_EQ(n_alive_, 1);
}

// Three readers hold objects for a moment while a writer replaces, and in every fourth round withdraws, what
// they read. A reader never sees the end of an object, nor an older one than before.
TEST_F(PublishedWitness, IsNeverGoneInTheHandsOfAReader) {
  constexpr uint64_t kRounds = 3000;
  constexpr int kReaders = 3;
  constexpr int64_t kReads = 1000;  // at least, whatever else the machine does
  std::atomic<bool> is_over{false};
  std::atomic<int64_t> n_broken{0}, n_older{0}, n_read{0};
  std::vector<std::thread> readers;
  for (int reader = 0; reader < kReaders; ++reader) {
    readers.emplace_back([&] {
      uint64_t latest = 0;
      while (!is_over.load()) {
        const auto use = published_.acquire();
        if (use.object == nullptr) continue;
        const uint64_t number = use.object->number();
        if (number < latest) ++n_older;
        latest = number;
        if (++n_read % 64 == 0) std::this_thread::yield();  // held while the writer goes on
        if (!use.object->is_whole() || use.object->number() != number) ++n_broken;
        published_.release(use.place);
      }
    });
  }
  for (uint64_t round = 1; round <= kRounds || n_read < kReads; ++round) {
    while (published_.collect() > 0) std::this_thread::yield();
    published_.publish(witness(round));
    if (round % 4 == 0) {
      published_.withdraw();
      while (published_.collect() > 0) std::this_thread::yield();
      EXPECT_EQ(n_alive_, 0);
    } else {
      EXPECT_LE(n_alive_, 2);
    }
    if (round % 64 == 0) std::this_thread::yield();
  }
  is_over = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(n_broken, 0);
  EXPECT_EQ(n_older, 0);
  published_.withdraw();
  EXPECT_EQ(published_.collect(), 0);
  EXPECT_EQ(n_alive_, 0);
}

}  // namespace
}  // namespace nanochat
