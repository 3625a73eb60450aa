// Pages that caches share: whatever happens to one cache, the others see nothing of it.
#include <random>
#include <thread>

#include "unit/memory/counting_memory.h"
#include "unit/model/model_fixture.h"

namespace nanochat::testing {
namespace {

using Tokens = std::vector<int32_t>;

constexpr int64_t kCapacity = 200;  // pages of 64, 64, 64 and 8 positions

class KvPages : public ::testing::TestWithParam<std::string> {
 protected:
  std::shared_ptr<CountingMemory> raw_ = std::make_shared<CountingMemory>();
  std::shared_ptr<Device> device_ = make_device("", 2, 0, raw_);
  std::shared_ptr<const Model> model_ = load(golden_path(GetParam()), device_);
  std::mt19937 random_{7};

  int64_t up_to(int64_t most) { return std::uniform_int_distribution<int64_t>(0, most)(random_); }
  Tokens some_tokens(int64_t n) {
    Tokens tokens;
    for (int64_t i = 0; i < n; ++i) {
      tokens.push_back(static_cast<int32_t>(up_to(model_->config().vocab_size - 1)));
    }
    return tokens;
  }
  uint64_t working_bytes() const { return device_->memory().stats().working_bytes; }
  uint64_t page_cost() const {
    return Memory::allocation_bytes(PoolKind::working, page_bytes(model_->config(), DType::f32));
  }
  KvCache cache_of(const Tokens& tokens, const KvOptions& options = {}) const {
    KvCache cache(model_, kCapacity, options);
    if (!tokens.empty()) feed(cache, tokens, LogitRows::none);
    return cache;
  }
};

constexpr KvOptions kAsNeeded = {DType::f32, KvReserve::as_needed};

// A cache and what it was fed, which a cache of its own must agree with bit for bit.
struct Kept {
  KvCache cache;
  Tokens tokens;
};

TEST_P(KvPages, AnyInterleavingLeavesEveryCacheAsIfItWereAlone) {
  for (const KvOptions& options : {KvOptions{}, kAsNeeded, KvOptions{DType::bf16, KvReserve::as_needed},
                                   KvOptions{DType::i8, KvReserve::at_once}}) {
    std::vector<Kept> all;
    for (int i = 0; i < 3; ++i) all.push_back({KvCache(model_, kCapacity, options), {}});
    for (int step = 0; step < 80; ++step) {
      Kept& one = all[static_cast<size_t>(up_to(2))];
      Kept& other = all[static_cast<size_t>(up_to(2))];
      switch (up_to(5)) {
        case 0:
          if (&one != &other) one = {other.cache.clone(), other.tokens};
          break;
        case 1: {  // begins with another's pages
          const int64_t n = up_to(other.cache.n_full_pages());
          std::vector<KvPage> pages;
          for (int64_t i = 0; i < n; ++i) pages.push_back(other.cache.full_page(i));
          Tokens tokens(other.tokens.begin(), other.tokens.begin() + n * kPagePositions);
          one = {KvCache(model_, kCapacity, options, pages), std::move(tokens)};
          break;
        }
        case 2:
          one.cache.truncate(up_to(one.cache.length()));
          one.tokens.resize(static_cast<size_t>(one.cache.length()));
          if (up_to(1) == 0) one.cache.release_unused();
          break;
        default: {
          const Tokens more = some_tokens(up_to(std::min<int64_t>(70, kCapacity - one.cache.length())));
          if (!more.empty()) feed(one.cache, more, LogitRows::none);
          one.tokens.insert(one.tokens.end(), more.begin(), more.end());
        }
      }
      for (const Kept& kept : all) {
        ASSERT_EQ(kept.cache.length(), std::ssize(kept.tokens));
        ASSERT_TRUE(kept.cache.serialize() == cache_of(kept.tokens, options).serialize()) << "step " << step;
      }
    }
  }
}

TEST_P(KvPages, ACloneTakesMemoryForWhatItDoesNotShare) {
  const KvCache cache = cache_of(some_tokens(150));
  const uint64_t before = working_bytes();
  const KvCache twin = cache.clone();
  EXPECT_EQ(working_bytes() - before, 2 * page_cost()) << "the partial page and the one after it";
  const KvCache lean = cache_of(some_tokens(150), kAsNeeded);
  EXPECT_EQ(lean.n_pages(), 3);
  const uint64_t before_second = working_bytes();
  const KvCache second = lean.clone();
  EXPECT_EQ(working_bytes() - before_second, page_cost());
}

TEST_P(KvPages, AReservedCacheTakesNoMoreUnlessItWritesIntoWhatItShares) {
  KvCache cache = cache_of(some_tokens(130));
  const uint64_t before = working_bytes();
  feed(cache, some_tokens(60), LogitRows::none);
  cache.clear();
  feed(cache, some_tokens(150), LogitRows::none);
  EXPECT_EQ(working_bytes(), before);
  const uint64_t alone = working_bytes();
  {
    const KvCache twin = cache.clone();
    const uint64_t with_twin = working_bytes();
    cache.truncate(100);
    EXPECT_EQ(working_bytes(), with_twin);
    feed(cache, some_tokens(1), LogitRows::none);
    EXPECT_EQ(working_bytes(), with_twin + page_cost()) << "page 1 is the twin's too";
  }
  EXPECT_EQ(working_bytes(), alone) << "the twin's own pages and the one that was replaced are free";
}

TEST_P(KvPages, ACacheThatReservesAsNeededGivesBackWhatItDoesNotUse) {
  KvCache cache(model_, kCapacity, kAsNeeded);
  EXPECT_EQ(cache.n_pages(), 0);
  feed(cache, some_tokens(64), LogitRows::none);
  EXPECT_EQ(cache.n_pages(), 1);
  feed(cache, some_tokens(1), LogitRows::none);
  EXPECT_EQ(cache.n_pages(), 2);
  const uint64_t before = working_bytes();
  cache.truncate(64);
  EXPECT_EQ(working_bytes(), before);
  cache.release_unused();
  EXPECT_EQ(working_bytes(), before - page_cost());
}

TEST_P(KvPages, PagesOutliveTheirCache) {
  const Tokens tokens = some_tokens(128);
  std::vector<KvPage> pages;
  {
    const KvCache cache = cache_of(tokens);
    for (int64_t i = 0; i < cache.n_full_pages(); ++i) pages.push_back(cache.full_page(i));
    EXPECT_TRUE(pages[0].is_shared());
  }
  ASSERT_EQ(pages.size(), 2U);
  EXPECT_FALSE(pages[0].is_shared());
  KvCache again(model_, kCapacity, kAsNeeded, pages);
  EXPECT_EQ(again.length(), 128);
  EXPECT_TRUE(again.serialize() == cache_of(tokens).serialize());
  const Tokens more = some_tokens(5);
  KvCache fresh = cache_of(tokens);
  EXPECT_TRUE(same_bits(feed(again, more), feed(fresh, more)));
}

TEST_P(KvPages, RefusesPagesThatAreNotItsOwnKind) {
  const KvCache cache = cache_of(some_tokens(128));
  const std::vector<KvPage> pages = {cache.full_page(0), cache.full_page(1)};
  const auto twin_model = load(golden_path(GetParam()), device_);
  const auto status_of = [](const auto& make) {
    try {
      make();
    } catch (const Error& error) {
      return error.status();
    }
    return Status::ok;
  };
  EXPECT_EQ(status_of([&] { KvCache(twin_model, kCapacity, {}, pages); }), Status::invalid_argument);
  EXPECT_EQ(status_of([&] { KvCache(model_, 127, {}, pages); }), Status::invalid_argument);
  EXPECT_EQ(status_of([&] { KvCache(model_, 128, {}, std::vector<KvPage>(1)); }), Status::invalid_argument);
  EXPECT_EQ(status_of([&] { KvCache(model_, kCapacity, {DType::f16}); }), Status::invalid_argument);
}

// A pass over three caches: one needs a page, one must replace a shared one, one needs nothing.
TEST_P(KvPages, EveryAllocationThatFailsLeavesAllCachesAsTheyWere) {
  KvCache grows = cache_of(some_tokens(64), kAsNeeded);
  const KvCache original = cache_of(some_tokens(150));
  KvCache rewrites = original.clone();
  rewrites.truncate(100);
  KvCache ready = cache_of(some_tokens(10));
  const Tokens tokens = some_tokens(30);
  const auto contents = [&] {
    return std::vector{grows.serialize(), original.serialize(), rewrites.serialize(), ready.serialize()};
  };
  const auto before = contents();
  const auto outcome = [&](const auto& work) {
    int64_t n_failed = 0;
    for (bool done = false; !done; ++n_failed) {
      device_->memory().reclaim();
      raw_->fail_from(n_failed);
      try {
        work();
        done = true;
      } catch (const Error& error) {
        EXPECT_EQ(error.status(), Status::out_of_memory);
        EXPECT_TRUE(contents() == before) << "allocation " << n_failed;
      }
      raw_->fail_from(-1);
    }
    return n_failed - 1;
  };
  EXPECT_EQ(outcome([&] { original.clone(); }), 2);
  EXPECT_EQ(outcome([&] { grows.clone(); }), 0);
  EXPECT_EQ(outcome([&] {
              KvCache loaded(model_, kCapacity, kAsNeeded);
              loaded.deserialize(before[1], 150);
            }),
            3);
  const auto pass = [&] {
    const std::vector<SequenceInput> inputs = {{&grows, tokens, LogitRows::none},
                                               {&rewrites, tokens, LogitRows::none},
                                               {&ready, tokens, LogitRows::none}};
    forward(*model_, inputs, nullptr, {});
  };
  EXPECT_GE(outcome(pass), 1) << "the pages are kept from attempt to attempt";
  EXPECT_TRUE(original.serialize() == before[1]);
  EXPECT_EQ(grows.length(), 94);
  EXPECT_EQ(rewrites.length(), 130);
}

TEST_P(KvPages, AreSharedAndDroppedByManyThreadsAtOnce) {
  const Tokens tokens = some_tokens(130), more = some_tokens(20);
  const KvCache original = cache_of(tokens, kAsNeeded);
  KvCache plain = original.clone();
  const std::vector<float> expected = feed(plain, more);
  KvCache shorter = original.clone();
  shorter.truncate(60);
  const std::vector<float> expected_shorter = feed(shorter, more);

  std::vector<std::thread> threads;
  std::vector<KvCache> own;
  for (int i = 0; i < 4; ++i) own.push_back(original.clone());
  for (KvCache& mine : own) {
    threads.emplace_back([&] {
      for (int round = 0; round < 25; ++round) {
        KvCache twin = mine.clone();
        const KvPage page = twin.full_page(0);
        EXPECT_TRUE(same_bits(feed(twin, more), expected));
        twin.truncate(60);
        EXPECT_TRUE(same_bits(feed(twin, more), expected_shorter));
        mine = round % 2 == 0 ? KvCache(model_, kCapacity, kAsNeeded, {&page, 1}) : original.clone();
        if (round % 2 == 0) feed(mine, std::span(tokens).subspan(64), LogitRows::none);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Each value is rounded on its own, so that the logits move, but not far.
TEST_P(KvPages, OfBf16AndInt8GiveLogitsNearThoseOfF32) {
  const Tokens tokens = some_tokens(150);
  KvCache exact(model_, kCapacity), half(model_, kCapacity, {DType::bf16}),
      quarter(model_, kCapacity, {DType::i8});
  EXPECT_LT(half.page_bytes(), exact.page_bytes());
  EXPECT_LT(quarter.page_bytes(), half.page_bytes());
  const std::vector<float> expected = feed(exact, tokens);
  float largest = 0.0F;
  for (const float logit : expected) largest = std::max(largest, std::abs(logit));
  for (KvCache* cache : {&half, &quarter}) {
    const float difference = largest_difference(feed(*cache, tokens), expected);
    EXPECT_GT(difference, 0.0F);
    EXPECT_LT(difference, 0.03F * largest) << dtype_name(cache->options().dtype);
  }
}

TEST_P(KvPages, OfBf16AndInt8ComeBackFromTheirBytes) {
  const Tokens tokens = some_tokens(100), more = some_tokens(40);
  for (const DType dtype : {DType::bf16, DType::i8}) {
    KvCache original = cache_of(tokens, {dtype}), restored(model_, 150, {dtype, KvReserve::as_needed});
    restored.deserialize(original.serialize(), 100);
    EXPECT_TRUE(restored.serialize() == original.serialize());
    EXPECT_TRUE(same_bits(feed(restored, more), feed(original, more))) << dtype_name(dtype);
  }
}

TEST_P(KvPages, OfTwoTypesAreNotPutIntoOnePass) {
  KvCache plain(model_, kCapacity), half(model_, kCapacity, {DType::bf16});
  const Tokens tokens = some_tokens(3);
  const std::vector<SequenceInput> inputs = {{&plain, tokens, LogitRows::none},
                                             {&half, tokens, LogitRows::none}};
  EXPECT_THROW(forward(*model_, inputs, nullptr, {}), Error);
  EXPECT_EQ(plain.length() + half.length(), 0);
}

INSTANTIATE_TEST_SUITE_P(Generations, KvPages, ::testing::Values("v0_mha", "v1_chunked"),
                         [](const auto& parameter) { return parameter.param; });

}  // namespace
}  // namespace nanochat::testing
