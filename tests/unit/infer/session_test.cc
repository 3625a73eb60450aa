#include "infer/session.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "unit/infer/small_models.h"

namespace nanochat::testing {
namespace {

// Each behaviour holds for every kind of model, on every kind of device.
class SessionOf : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  std::unique_ptr<Host> host_;
  std::shared_ptr<const Model> model_;
  std::vector<int32_t> tokens_;

  void SetUp() override {
    const auto& [model, device] = GetParam();
    NANOCHAT_SKIP_WITHOUT_A_GPU(device);
    host_ = std::make_unique<Host>(device);
    model_ = host_->load(model);
    tokens_ = some_tokens(*model_, 20);
  }

  std::span<const int32_t> tokens(size_t begin, size_t end) const {
    return std::span(tokens_).subspan(begin, end - begin);
  }
  std::unique_ptr<Session> session_of(size_t n) const {
    auto session = std::make_unique<Session>(model_, 0);
    append(*session, tokens(0, n));
    return session;
  }
  std::vector<float> logits_after(size_t n) const {
    return fresh_logits(model_, {tokens_.begin(), tokens_.begin() + static_cast<ptrdiff_t>(n)});
  }

  // The session holds the first n tokens and goes on as if nothing else had ever been in it.
  void expect_intact(Session& session, size_t n) {
    ASSERT_EQ(session.length(), static_cast<int64_t>(n));
    EXPECT_EQ(session.tokens(),
              std::vector<int32_t>(tokens_.begin(), tokens_.begin() + static_cast<ptrdiff_t>(n)));
    if (n > 0) {
      session.restore_logits({});
      EXPECT_EQ(logits_of(session), logits_after(n));
    }
    const auto copy = session.copy();
    append(*copy, tokens(n, n + 3));
    EXPECT_EQ(logits_of(*copy), logits_after(n + 3));
  }
};

// What an allocation of the host is asked for, or made to fail.
class SessionInHostMemory : public SessionOf {};

const std::vector<std::string> kModels = {kStories, kSmearing, kPlain};
NANOCHAT_EACH_ON_EVERY_KIND_OF_DEVICE(SessionOf, kModels, name_of_model);
NANOCHAT_EACH_ON(Cpu, SessionInHostMemory, kModels, name_of_model, std::vector<std::string>{std::string()});

TEST_P(SessionOf, BeginsEmpty) {
  const Session session(model_, 0);
  EXPECT_EQ(session.length(), 0);
  EXPECT_EQ(session.capacity(), model_->config().sequence_len);
  EXPECT_TRUE(session.last_logits().empty());
}

TEST_P(SessionOf, GivesTheSameBitsHoweverTheTokensAreCut) {
  for (const size_t n_piece : {1U, 3U, 7U}) {
    Session session(model_, 0);
    for (size_t i = 0; i < tokens_.size(); i += n_piece) {
      append(session, tokens(i, std::min(tokens_.size(), i + n_piece)));
    }
    EXPECT_EQ(logits_of(session), logits_after(tokens_.size())) << "pieces of " << n_piece;
  }
}

TEST_P(SessionOf, WritesTheRowsThatAreAskedFor) {
  const auto n_vocab = static_cast<size_t>(model_->config().vocab_size);
  std::vector<float> all(5 * n_vocab), last(n_vocab);
  Session session(model_, 0);
  session.append(tokens(0, 5), LogitRows::all, all.data(), {});
  for (size_t row = 0; row < 5; ++row) {
    const auto begin = all.begin() + static_cast<ptrdiff_t>(row * n_vocab);
    EXPECT_EQ(std::vector<float>(begin, begin + static_cast<ptrdiff_t>(n_vocab)), logits_after(row + 1));
  }
  EXPECT_EQ(logits_of(session), logits_after(5));
  session.append(tokens(5, 8), LogitRows::last, last.data(), {});
  EXPECT_EQ(last, logits_after(8));
  EXPECT_EQ(logits_of(session), last);
}

TEST_P(SessionOf, IsUnchangedAfterARefusal) {
  const auto session = session_of(5);
  const uint64_t revision = session->revision();
  const int32_t vocab_size = static_cast<int32_t>(model_->config().vocab_size);
  float logit = 0;
  const std::vector<int32_t> too_many(static_cast<size_t>(session->capacity() - 4), 1);
  const auto append_status = [&](std::vector<int32_t> tokens, LogitRows rows, float* logits) {
    return status_of([&] { session->append(tokens, rows, logits, {}); });
  };
  EXPECT_EQ(append_status({1, vocab_size}, LogitRows::none, nullptr), Status::out_of_range);
  EXPECT_EQ(append_status({-1}, LogitRows::none, nullptr), Status::out_of_range);
  EXPECT_EQ(append_status({}, LogitRows::last, &logit), Status::invalid_argument);
  EXPECT_EQ(append_status({1}, LogitRows::last, nullptr), Status::invalid_argument);
  EXPECT_EQ(append_status({1}, LogitRows::all, nullptr), Status::invalid_argument);
  EXPECT_EQ(append_status(too_many, LogitRows::none, nullptr), Status::context_full);
  EXPECT_EQ(session->revision(), revision);
  EXPECT_FALSE(session->last_logits().empty());
  expect_intact(*session, 5);
}

TEST_P(SessionInHostMemory, IsUnchangedAfterACancelledAppend) {
  const auto session = session_of(5);
  CancelToken cancel;
  const Watch watch{.cancel = &cancel, .on_progress = {}};
  host_->device->memory().reclaim();
  host_->raw->ask([&] { return cancel.request(), true; });  // the pass has begun
  EXPECT_EQ(status_of([&] { session->append(tokens(5, 15), LogitRows::none, nullptr, watch); }),
            Status::cancelled);
  EXPECT_TRUE(cancel.requested());
  host_->raw->ask({});
  EXPECT_EQ(logits_of(*session), logits_after(5));
  expect_intact(*session, 5);
}

TEST_P(SessionInHostMemory, IsUnchangedAfterAnyAllocationThatFails) {
  int n_failed = 0;
  for (int n = 0;; ++n) {
    const auto session = session_of(5);
    host_->device->memory().reclaim();
    int i = 0;
    host_->raw->ask([&] { return i++ < n; });  // a single failure would be tried again
    const Status status = status_of([&] { append(*session, tokens(5, 15)); });
    host_->raw->ask({});
    if (status == Status::ok) break;
    ++n_failed;
    EXPECT_TRUE(status == Status::working_memory_exhausted || status == Status::out_of_memory);
    expect_intact(*session, 5);
  }
  EXPECT_GT(n_failed, 0);
}

TEST_P(SessionOf, ForgetsWhatIsTruncated) {
  for (const size_t length : {0U, 1U, 4U, 9U, 10U}) {
    const auto session = session_of(10);
    session->truncate(static_cast<int64_t>(length));
    EXPECT_EQ(session->last_logits().empty(), length != 10);
    expect_intact(*session, length);
  }
}

TEST_P(SessionOf, TruncatesOnlyToWhatItHolds) {
  const auto session = session_of(5);
  EXPECT_EQ(status_of([&] { session->truncate(6); }), Status::out_of_range);
  EXPECT_EQ(status_of([&] { session->truncate(-1); }), Status::out_of_range);
  expect_intact(*session, 5);
}

TEST_P(SessionInHostMemory, IsUnchangedAfterACancelledRestore) {
  const auto session = session_of(10);
  session->truncate(6);
  CancelToken cancel;
  host_->device->memory().reclaim();
  host_->raw->ask([&] { return cancel.request(), true; });
  const Watch watch{.cancel = &cancel, .on_progress = {}};
  EXPECT_EQ(status_of([&] { session->restore_logits(watch); }), Status::cancelled);
  host_->raw->ask({});
  EXPECT_TRUE(session->last_logits().empty());
  expect_intact(*session, 6);
}

TEST_P(SessionOf, HasNothingToRestoreWhenEmpty) {
  Session session(model_, 0);
  EXPECT_EQ(status_of([&] { session.restore_logits({}); }), Status::invalid_state);
}

TEST_P(SessionOf, SlidesAsIfTheDroppedTokensHadNeverBeen) {
  for (const auto& [n_keep, n_drop] : {std::pair{0, 4}, {1, 5}, {3, 1}, {4, 8}, {0, 12}, {5, 0}}) {
    const auto session = session_of(12);
    session->slide(n_keep, n_drop, {});
    std::vector<int32_t> rest(tokens_.begin(), tokens_.begin() + n_keep);
    rest.insert(rest.end(), tokens_.begin() + n_keep + n_drop, tokens_.begin() + 12);
    EXPECT_EQ(session->tokens(), rest);
    rest.push_back(tokens_[13]);
    append(*session, tokens(13, 14));
    EXPECT_EQ(logits_of(*session), fresh_logits(model_, rest)) << "keep " << n_keep << ", drop " << n_drop;
  }
}

TEST_P(SessionOf, SlidesOnlyWhatItHolds) {
  const auto session = session_of(5);
  for (const auto& [n_keep, n_drop] : {std::pair{-1, 2}, {0, -1}, {6, 0}, {3, 3}, {0, 6}}) {
    EXPECT_EQ(status_of([&, keep = n_keep, drop = n_drop] { session->slide(keep, drop, {}); }),
              Status::out_of_range);
  }
  expect_intact(*session, 5);
}

TEST_P(SessionOf, HoldsTheKeptTokensAfterACancelledSlide) {
  const auto session = session_of(12);
  CancelToken cancel;
  cancel.request();
  const Watch watch{.cancel = &cancel, .on_progress = {}};
  EXPECT_EQ(status_of([&] { session->slide(4, 2, watch); }), Status::cancelled);
  expect_intact(*session, 4);
}

TEST_P(SessionOf, CopiesAreIndependent) {
  const auto session = session_of(8);
  const auto twin = session->copy();
  EXPECT_EQ(logits_of(*twin), logits_of(*session));
  EXPECT_EQ(twin->capacity(), session->capacity());
  append(*twin, tokens(12, 16));
  session->truncate(3);
  expect_intact(*session, 3);
  twin->truncate(8);
  expect_intact(*twin, 8);
}

TEST_P(SessionOf, ChangesItsRevisionWithEveryChange) {
  Session session(model_, 0);
  std::vector<uint64_t> seen{session.revision()};
  const auto expect_new = [&] {
    EXPECT_EQ(std::count(seen.begin(), seen.end(), session.revision()), 0);
    seen.push_back(session.revision());
  };
  append(session, tokens(0, 8));
  expect_new();
  session.truncate(6);
  expect_new();
  session.slide(1, 2, {});
  expect_new();
}

TEST_P(SessionOf, RefusesCapacitiesThatNoModelHas) {
  const int64_t n_positions = model_->weights().n_rope_positions;
  EXPECT_EQ(status_of([&] { Session(model_, n_positions + 1); }), Status::out_of_range);
  EXPECT_EQ(status_of([&] { Session(model_, -1); }), Status::out_of_range);
  EXPECT_EQ(status_of([&] { Session(nullptr, 1); }), Status::invalid_argument);
  EXPECT_EQ(Session(model_, n_positions).capacity(), n_positions);
}

TEST_P(SessionOf, FillsToItsCapacity) {
  Session session(model_, 6);
  append(session, tokens(0, 6));
  EXPECT_EQ(logits_of(session), logits_after(6));
  EXPECT_EQ(status_of([&] { append(session, tokens(6, 7)); }), Status::context_full);
}

}  // namespace
}  // namespace nanochat::testing
