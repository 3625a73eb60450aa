// The scheduler from several threads at once, and any operations in any order.
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "unit/infer/batch_run.h"

namespace nanochat::testing {
namespace {

class BatchThreads : public ::testing::Test {
 protected:
  Host host_;
  std::shared_ptr<const Model> model_ = host_.load(kStories);
  std::shared_ptr<const Tokenizer> tokenizer_ = byte_tokenizer();

  std::vector<Outcome> all_alone(const std::vector<Wish>& wishes) const {
    std::vector<Outcome> outcomes;
    for (const Wish& wish : wishes) {
      outcomes.push_back(alone(model_, tokenizer_, wish));
      outcomes.back().logits.clear();
    }
    return outcomes;
  }
  std::vector<Wish> some_wishes(size_t n, uint64_t seed) const {
    Wishes source(*model_, seed, true);
    std::vector<Wish> wishes;
    for (size_t i = 0; i < n; ++i) wishes.push_back(source.next());
    return wishes;
  }
  template <class Body>
  static void in_threads(size_t n, const Body& body) {
    std::vector<std::thread> threads;
    for (size_t i = 0; i < n; ++i) threads.emplace_back([&body, i] { body(i); });
    for (std::thread& thread : threads) thread.join();
  }
};

TEST_F(BatchThreads, EachThreadWaitsForARequestOfItsOwn) {
  const std::vector<Wish> wishes = some_wishes(12, 1);
  const std::vector<Outcome> expected = all_alone(wishes);
  BatchSchedulerOptions options;
  options.max_running = 5;
  options.engine.draft_tokens = 3;
  BatchScheduler scheduler(model_, options);
  std::vector<Outcome> got(wishes.size());
  in_threads(wishes.size(), [&](size_t i) {
    const auto request = submit(scheduler, tokenizer_, wishes[i]);
    got[i] = run_to_end(scheduler, *request);
    scheduler.forget(*request);
  });
  for (size_t i = 0; i < wishes.size(); ++i) EXPECT_EQ(got[i], expected[i]) << i;
  EXPECT_EQ(scheduler.usage().kv_promised_bytes, 0U);
}

TEST_F(BatchThreads, SeveralThreadsTakeWhicheverComesFirst) {
  const std::vector<Wish> wishes = some_wishes(20, 2);
  const std::vector<Outcome> expected = all_alone(wishes);
  BatchSchedulerOptions options;
  options.max_running = 8;
  BatchScheduler scheduler(model_, options);
  std::vector<size_t> numbers(wishes.size());
  std::vector<Outcome> got(wishes.size());
  std::vector<std::shared_ptr<BatchRequest>> requests(wishes.size());
  std::atomic<size_t> n_ended{0};
  in_threads(4, [&](size_t thread) {
    if (thread == 0) {
      for (size_t i = 0; i < wishes.size(); ++i) {
        numbers[i] = i;
        requests[i] = submit(scheduler, tokenizer_, wishes[i], &numbers[i]);
      }
      return;
    }
    BatchRequest* request = nullptr;
    GenerationEvent event;
    while (n_ended.load() < wishes.size()) {
      request = scheduler.next_of_any(request, 0.01, event);
      if (request == nullptr) continue;
      const size_t number = *static_cast<size_t*>(request->owner());
      add(event, got[number]);  // no lock: a request is in one thread's hands
      if (event.finish != Finish::none) ++n_ended;
    }
  });
  for (size_t i = 0; i < wishes.size(); ++i) EXPECT_EQ(got[i], expected[i]) << i;
}

TEST_F(BatchThreads, AThreadThatWaitsForWorkIsWokenByASubmit) {
  BatchScheduler scheduler(model_, {});
  std::atomic<bool> is_waiting{false};
  std::shared_ptr<BatchRequest> request;
  in_threads(2, [&](size_t thread) {
    if (thread == 0) {
      GenerationEvent event;
      is_waiting = true;
      EXPECT_NE(scheduler.next_of_any(nullptr, 1e18, event), nullptr);
      EXPECT_EQ(event.index, 0);
    } else {
      while (!is_waiting) std::this_thread::yield();
      request = submit(scheduler, nullptr, {{1}, {.max_tokens = 1}, 0});
    }
  });
}

// One of several threads that do anything at all, each with requests of its own.
class Visitor {
 public:
  Visitor(BatchScheduler& scheduler, const Model& model, std::shared_ptr<const Tokenizer> tokenizer,
          const std::vector<Wish>& wishes, const std::vector<Outcome>& expected, uint64_t seed)
      : scheduler_(scheduler),
        tokenizer_(std::move(tokenizer)),
        wishes_(wishes),
        expected_(expected),
        random_(model, seed, false) {}

  void act() {
    const int64_t what = random_.below(100);
    if (what < 12) return submit();
    if (what < 16) return static_cast<void>(scheduler_.usage());
    if (open_.empty()) return;
    const auto at = static_cast<size_t>(random_.below(std::ssize(open_)));
    if (what < 19) return scheduler_.cancel(*open_[at].request);
    if (what < 21) return close(at);
    if (what < 25) return static_cast<void>(scheduler_.usage(*open_[at].request));
    take(at);
  }
  void finish() {
    while (!open_.empty()) take(open_.size() - 1);
  }
  int64_t n_right() const { return n_right_; }

 private:
  struct Open {
    size_t number;
    std::shared_ptr<BatchRequest> request;
    Outcome got;
  };

  void submit() {
    const auto number = static_cast<size_t>(random_.below(std::ssize(wishes_)));
    const Wish& wish = wishes_[number];
    try {
      open_.push_back({number, testing::submit(scheduler_, tokenizer_, wish), {}});
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::queue_full);
    }
  }
  void take(size_t at) {
    Open& open = open_[at];
    try {
      add(scheduler_.next(*open.request), open.got);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::invalid_state) << error.message();
      return close(at);
    }
    if (open.got.finish == Finish::none) return;
    if (open.got.finish == Finish::error) {
      EXPECT_EQ(scheduler_.failure(*open.request)->status(), Status::cancelled);
      EXPECT_TRUE(is_beginning(open.got, expected_[open.number]));
    } else {
      EXPECT_EQ(open.got, expected_[open.number]);
      ++n_right_;
    }
    close(at);
  }
  void close(size_t at) {
    scheduler_.forget(*open_[at].request);
    std::swap(open_[at], open_.back());
    open_.pop_back();
  }

  BatchScheduler& scheduler_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  const std::vector<Wish>& wishes_;
  const std::vector<Outcome>& expected_;
  Wishes random_;
  std::vector<Open> open_;
  int64_t n_right_ = 0;
};

TEST_F(BatchThreads, TenThousandOperationsInAnyOrderFromOneToFourThreads) {
  const std::vector<Wish> wishes = some_wishes(40, 3);
  const std::vector<Outcome> expected = all_alone(wishes);
  for (size_t n_threads = 1; n_threads <= 4; ++n_threads) {
    BatchSchedulerOptions options;
    options.max_running = 6;
    options.max_waiting = 10;
    options.max_unread = 8;
    options.engine.prefill_rows = 40;
    options.engine.draft_tokens = static_cast<int32_t>(2 * (n_threads % 2));
    options.engine.kv_budget_bytes =
        24 * Memory::allocation_bytes(PoolKind::working, page_bytes(model_->config(), DType::f32));
    BatchScheduler scheduler(model_, options);
    std::atomic<int64_t> n_right{0};
    in_threads(n_threads, [&](size_t thread) {
      Visitor visitor(scheduler, *model_, tokenizer_, wishes, expected, 10 * n_threads + thread);
      for (size_t i = 0; i < 2500 / n_threads; ++i) visitor.act();
      visitor.finish();
      n_right += visitor.n_right();
    });
    const BatchSchedulerUsage usage = scheduler.usage();
    EXPECT_GT(n_right.load(), 20);
    EXPECT_EQ(usage.n_ended, usage.n_submitted);
    EXPECT_EQ(usage.n_running + usage.n_waiting, 0);
    EXPECT_EQ(usage.kv_promised_bytes, 0U);
    EXPECT_LE(usage.prefix_cache_bytes, usage.kv_budget_bytes);
  }
}

}  // namespace
}  // namespace nanochat::testing
