#include "model/kv_cache.h"

#include "unit/model/model_fixture.h"

namespace nanochat::testing {
namespace {

using Tokens = std::vector<int32_t>;

class KvCacheTest : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  std::shared_ptr<Device> device_;
  std::shared_ptr<const Model> model_;
  void SetUp() override {
    NANOCHAT_SKIP_WITHOUT_A_GPU(on());
    device_ = device_for_test(on());
    model_ = load(path(), device_);
  }
  static std::string path() { return golden_path(std::get<0>(GetParam())); }
  static const std::string& on() { return std::get<1>(GetParam()); }
  const Tokens prompt_ = {5, 17, 3, 88, 41, 2, 60}, more_ = {9, 33, 71, 0, 12};

  template <class F>
  static Error error_of(const F& call) {
    try {
      call();
    } catch (const Error& error) {
      return error;
    }
    return Error(Status::ok);
  }
};

TEST_P(KvCacheTest, ForgetsExactlyWhatIsTruncated) {
  KvCache fresh(model_, 40), reused(model_, 40);
  feed(fresh, prompt_);
  feed(reused, prompt_);
  feed(reused, more_);
  reused.truncate(std::ssize(prompt_));
  EXPECT_TRUE(same_bits(feed(reused, more_), feed(fresh, more_)));
  reused.clear();
  EXPECT_EQ(reused.length(), 0);
  KvCache empty(model_, 40);
  EXPECT_TRUE(same_bits(feed(reused, more_), feed(empty, more_)));
  EXPECT_EQ(error_of([&] { reused.truncate(6); }).status(), Status::out_of_range);
  EXPECT_EQ(error_of([&] { reused.truncate(-1); }).status(), Status::out_of_range);
}

TEST_P(KvCacheTest, AClonesFutureIsItsOwn) {
  KvCache original(model_, 40);
  feed(original, prompt_);
  KvCache copy = original.clone();
  EXPECT_EQ(copy.length(), original.length());
  KvCache second = original.clone();
  const std::vector<float> expected = feed(copy, more_);
  feed(original, Tokens{1, 1, 1, 1, 1});
  EXPECT_TRUE(same_bits(feed(second, more_), expected));
}

TEST_P(KvCacheTest, ComesBackFromItsBytesInAnyCapacity) {
  KvCache original(model_, 40);
  feed(original, prompt_);
  const std::vector<std::byte> bytes = original.serialize();
  EXPECT_EQ(bytes.size(), prompt_.size() * model_->plan().kv_bytes_per_token);
  KvCache restored(model_, 23);
  restored.deserialize(bytes, std::ssize(prompt_));
  EXPECT_TRUE(restored.serialize() == bytes);
  EXPECT_TRUE(same_bits(feed(restored, more_), feed(original, more_)));

  EXPECT_EQ(error_of([&] { restored.deserialize(std::span(bytes).first(bytes.size() - 1), 7); }).status(),
            Status::format_invalid);
  EXPECT_EQ(error_of([&] { restored.deserialize(bytes, 24); }).status(), Status::context_full);
  EXPECT_EQ(error_of([&] { restored.deserialize(bytes, -1); }).status(), Status::context_full);
  restored.deserialize({}, 0);
  EXPECT_EQ(restored.length(), 0);
}

TEST_P(KvCacheTest, TakesWhatThePlanSays) {
  const uint64_t before = device_->memory().stats().working_bytes;
  const uint64_t page =
      Memory::allocation_bytes(PoolKind::working, kPagePositions * model_->plan().kv_bytes_per_token);
  for (const auto& [capacity, n_pages] : {std::pair{1, 1U}, {33, 1U}, {64, 1U}, {65, 2U}, {150, 3U}}) {
    const KvCache cache(model_, capacity);
    EXPECT_EQ(device_->memory().stats().working_bytes - before, n_pages * page) << capacity;
  }
}

TEST_P(KvCacheTest, RefusesACapacityBeyondTheRopeTables) {
  const int64_t most = 10 * model_->config().sequence_len;
  EXPECT_EQ(error_of([&] { KvCache(model_, most); }).status(), Status::ok);
  for (const int64_t capacity : {most + 1, int64_t{0}, int64_t{-5}, INT64_MAX}) {
    const Error error = error_of([&] { KvCache(model_, capacity); });
    EXPECT_EQ(error.status(), Status::out_of_range);
    EXPECT_NE(error.message().find(std::to_string(capacity)), std::string::npos) << error.message();
    EXPECT_NE(error.message().find(std::to_string(most)), std::string::npos) << error.message();
  }
}

TEST_P(KvCacheTest, SaysWhenTheWorkingPoolIsExhausted) {
  const ModelPlan plan = Model::plan(path(), {});
  const auto small = make_device(on(), 1, plan.weight_bytes + Memory::allocation_bytes(PoolKind::working, 1));
  const auto model = load(path(), small);
  EXPECT_EQ(error_of([&] { KvCache(model, 100); }).status(), Status::working_memory_exhausted);
  EXPECT_EQ(small->memory().stats().working_bytes, 0U);
}

NANOCHAT_EACH_ON_EVERY_KIND_OF_DEVICE(KvCacheTest, (std::vector<std::string>{"v0_mha", "v1_chunked"}),
                                      [](const std::string& name) { return name; });

}  // namespace
}  // namespace nanochat::testing
