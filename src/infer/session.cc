#include "infer/session.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace nanochat {

namespace {

KvCache make_cache(std::shared_ptr<const Model> model, int64_t capacity, DType kv_dtype) {
  if (!model) throw Error(Status::invalid_argument).subject("model").say("a session needs a model, got none");
  if (capacity == 0) capacity = model->config().sequence_len;
  return {std::move(model), capacity, KvOptions{kv_dtype, KvReserve::at_once}};
}

}  // namespace

Session::Session(std::shared_ptr<const Model> model, int64_t capacity, DType kv_dtype)
    : Session(make_cache(std::move(model), capacity, kv_dtype)) {}

Session::Session(KvCache cache) : cache_(std::move(cache)) {
  tokens_.reserve(static_cast<size_t>(capacity()));
  last_logits_.reserve(static_cast<size_t>(config().vocab_size));
  spare_logits_.reserve(static_cast<size_t>(config().vocab_size));
}

std::unique_ptr<Session> Session::copy() const {
  auto twin = std::make_unique<Session>(Session(cache_.clone()));
  twin->tokens_.assign(tokens_.begin(), tokens_.end());
  twin->last_logits_ = last_logits_;
  twin->last_top_ = last_top_;
  return twin;
}

float* Session::spare_logits() {
  spare_logits_.resize(static_cast<size_t>(config().vocab_size));
  return spare_logits_.data();
}

// Everything that can fail happens before the first change; forward() itself keeps the cache's length when it
// throws, and what it lets through fits into the room that is reserved.
void Session::append(std::span<const int32_t> tokens, LogitRows which, float* logits, const Watch& watch) {
  if (tokens.empty()) {
    throw Error(Status::invalid_argument).subject("tokens").say("0 tokens to append, expected 1 or more");
  }
  if (which != LogitRows::none && logits == nullptr) {
    throw Error(Status::invalid_argument)
        .subject("logits")
        .say("logits were asked for, but there is no place for them");
  }
  // The last row is computed even for LogitRows::none: it costs one row, and a generation can start from it.
  float* last = spare_logits();
  const size_t n_vocab = spare_logits_.size();
  const bool all = which == LogitRows::all;
  const SequenceInput input{&cache_, tokens, all ? LogitRows::all : LogitRows::last};
  forward(model(), {&input, 1}, all ? logits : last, watch);

  if (all) std::copy_n(logits + (tokens.size() - 1) * n_vocab, n_vocab, last);
  if (which == LogitRows::last) std::copy_n(last, n_vocab, logits);
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  last_logits_.swap(spare_logits_);
  last_top_.reset();
  ++revision_;
}

// On a GPU the logits stay where they are, unless the sampler needs them all.
void Session::append_for(const Sampler& sampler, std::span<const int32_t> tokens, const Watch& watch) {
  if (model().device().is_host() || !sampler.may_do_with_top()) {
    return append(tokens, LogitRows::none, nullptr, watch);
  }
  const float scale = sampler.top_scale();
  TopLogits top;
  bool is_enough = true;
  const auto needs_all = [&](int64_t) {
    is_enough = sampler.can_sample(top);
    return !is_enough;
  };
  const SequenceInput input{&cache_, tokens, LogitRows::last};
  forward_top(model(), {&input, 1}, {{&scale, 1}, {&top, 1}, spare_logits(), needs_all}, watch);

  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  last_logits_.swap(spare_logits_);
  if (is_enough) {
    last_logits_.clear();
    last_top_ = top;
  } else {
    last_top_.reset();
  }
  ++revision_;
}

void Session::truncate(int64_t length) {
  if (length < 0 || length > cache_.length()) {
    throw Error(Status::out_of_range)
        .subject("length")
        .say("cannot truncate to {} tokens: the session holds {}", length, cache_.length());
  }
  if (length == cache_.length()) return;
  cache_.truncate(length);
  tokens_.resize(static_cast<size_t>(length));
  last_logits_.clear();
  last_top_.reset();
  ++revision_;
}

void Session::restore_logits(const Watch& watch) {
  if (!last_logits_.empty()) return;
  if (tokens_.empty())
    throw Error(Status::invalid_state).say("an empty session has no last token to evaluate");
  float* last = spare_logits();
  const int64_t length = cache_.length();
  cache_.truncate(length - 1);
  const SequenceInput input{&cache_, {&tokens_.back(), 1}, LogitRows::last};
  try {
    forward(model(), {&input, 1}, last, watch);
  } catch (...) {
    // What was written over that position are the bits it had: one order of operations, whatever the call.
    cache_.advance(length - cache_.length());
    throw;
  }
  last_logits_.swap(spare_logits_);
}

void Session::slide(int64_t n_keep, int64_t n_drop, const Watch& watch) {
  if (n_keep < 0 || n_drop < 0 || n_keep > length() || n_drop > length() - n_keep) {
    throw Error(Status::out_of_range)
        .subject("n_drop")
        .say("cannot drop {} tokens after the first {}: the session holds {}", n_drop, n_keep, length());
  }
  if (n_drop == 0) return;
  const std::vector<int32_t> rest(tokens_.begin() + n_keep + n_drop, tokens_.end());
  truncate(n_keep);
  if (!rest.empty()) append(rest, LogitRows::none, nullptr, watch);
}

}  // namespace nanochat
