#include "infer/prefix_cache.h"

#include <vector>

#include <gtest/gtest.h>

#include "unit/infer/small_models.h"

namespace nanochat::testing {
namespace {

using Tokens = std::array<int32_t, kPagePositions>;

Tokens all(int32_t token) {
  Tokens tokens;
  tokens.fill(token);
  return tokens;
}

class PrefixCacheOf : public ::testing::Test {
 protected:
  Host host_;
  std::shared_ptr<const Model> model_ = host_.load(kStories);
  KvPage page() const { return KvPage::allocate(model_, DType::f32); }
  uint64_t used_bytes() const { return model_->device().memory().stats().used_bytes; }
};

TEST_F(PrefixCacheOf, FindsAPageByItsTokensAndWhatLeadsToThem) {
  PrefixCache cache(10);
  PrefixCache::Node* a = cache.add(nullptr, all(1), page());
  PrefixCache::Node* ab = cache.add(a, all(2), page());
  EXPECT_EQ(cache.find(nullptr, all(1)), a);
  EXPECT_EQ(cache.find(a, all(2)), ab);
  EXPECT_EQ(cache.find(nullptr, all(2)), nullptr);
  EXPECT_EQ(cache.find(ab, all(2)), nullptr);
  Tokens nearly = all(1);
  nearly.back() = 2;
  EXPECT_EQ(cache.find(nullptr, nearly), nullptr);
}

TEST_F(PrefixCacheOf, KeepsTheLatestUnusedPages) {
  PrefixCache cache(2);
  const uint64_t before = used_bytes();
  for (int32_t i = 0; i < 3; ++i) cache.leave(cache.add(nullptr, all(i), page()));
  EXPECT_EQ(cache.n_unused(), 2);
  EXPECT_EQ(cache.n_evicted(), 1);
  EXPECT_EQ(cache.find(nullptr, all(0)), nullptr);
  PrefixCache::Node* one = cache.find(nullptr, all(1));
  cache.use(one);  // out of reach of eviction, and then the latest
  EXPECT_EQ(cache.n_used(), 1);
  cache.leave(one);
  EXPECT_TRUE(cache.evict_one());
  EXPECT_EQ(cache.find(nullptr, all(2)), nullptr);
  EXPECT_EQ(cache.find(nullptr, all(1)), one);
  EXPECT_TRUE(cache.evict_one());
  EXPECT_FALSE(cache.evict_one());
  EXPECT_EQ(used_bytes(), before);
}

TEST_F(PrefixCacheOf, EvictsFromTheEndOfAPath) {
  PrefixCache cache(10);
  PrefixCache::Node* a = cache.add(nullptr, all(1), page());
  PrefixCache::Node* ab = cache.add(a, all(2), page());
  PrefixCache::Node* abc = cache.add(ab, all(3), page());
  for (PrefixCache::Node* node : {abc, ab, a}) cache.leave(node);
  cache.use(a);  // a request that begins alike
  cache.leave(a);
  cache.evict_one();
  EXPECT_EQ(cache.find(ab, all(3)), nullptr);
  cache.evict_one();
  EXPECT_EQ(cache.find(a, all(2)), nullptr);
  EXPECT_EQ(cache.find(nullptr, all(1)), a);
}

TEST_F(PrefixCacheOf, AClaimThatIsGivenUpIsNoPage) {
  PrefixCache cache(10);
  PrefixCache::Node* claimed = cache.add(nullptr, all(1), {});
  EXPECT_FALSE(cache.find(nullptr, all(1))->page());
  EXPECT_EQ(cache.n_used(), 0);
  cache.leave(claimed);
  EXPECT_EQ(cache.find(nullptr, all(1)), nullptr);
  EXPECT_EQ(cache.n_unused(), 0);

  claimed = cache.add(nullptr, all(1), {});
  cache.publish(claimed, page());
  EXPECT_TRUE(cache.find(nullptr, all(1))->page());
  cache.leave(claimed);
  EXPECT_EQ(cache.n_unused(), 1);
}

}  // namespace
}  // namespace nanochat::testing
