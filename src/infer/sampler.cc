#include "infer/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/random.h"
#include "tensor/kernels.h"

namespace nanochat {
namespace {

constexpr size_t kBlock = 256;  // of partial sums: fixed, so that a sum has one order

void require_within(const char* field, float value, float low, float high) {
  if (value >= low && value <= high) return;
  throw Error(Status::invalid_argument)
      .subject(field)
      .say("{} is {}, expected {} to {}", field, value, low, high);
}

// exp for x >= -708 to within 2 ulp. Not the C library's: that one gives other bits on other processors, and
// a draw must not. No branches, so that a loop over it runs at vector speed.
constexpr double exp_of_bounded(double x) {
  constexpr double kLog2E = 1.4426950408889634, kLn2High = 0x1.62e42feep-1, kLn2Low = 0x1.a39ef35793c76p-33;
  constexpr double kRound = 0x1.8p52;  // a sum with it has no fraction: its lowest bits are the integer
  const double shifted = x * kLog2E + kRound;
  const double k = shifted - kRound;
  const double r = (x - k * kLn2High) - k * kLn2Low;  // |r| <= 0.35
  // The series to r^13 / 13!, written out: as a loop it keeps the loop around it from being vectorised.
  double sum = 1.0 / 6227020800.0;
  sum = sum * r + 1.0 / 479001600;
  sum = sum * r + 1.0 / 39916800;
  sum = sum * r + 1.0 / 3628800;
  sum = sum * r + 1.0 / 362880;
  sum = sum * r + 1.0 / 40320;
  sum = sum * r + 1.0 / 5040;
  sum = sum * r + 1.0 / 720;
  sum = sum * r + 1.0 / 120;
  sum = sum * r + 1.0 / 24;
  sum = sum * r + 1.0 / 6;
  sum = sum * r + 0.5;
  sum = sum * r + 1.0;
  sum = sum * r + 1.0;
  const double scale = std::bit_cast<double>((std::bit_cast<uint64_t>(shifted) + 1023) << 52);  // 2^k
  return sum * scale;
}

constexpr double kLowestExponent = -708;

// For x in [-708, 0]. The smallest value is taken off: that changes no other, but gives -infinity its zero.
double weight_of_bounded(double x) { return exp_of_bounded(x) - exp_of_bounded(kLowestExponent); }

void check_logits(std::span<const float> logits) {
  if (logits.empty())
    throw Error(Status::invalid_argument).subject("logits").say("there are 0 logits, expected 1 or more");
  if (logits.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    throw Error(Status::invalid_argument)
        .subject("logits")
        .say("there are {} logits, expected at most 2147483647", logits.size());
  }
}

[[noreturn]] void refuse_logit(float value, size_t index) {
  throw Error(Status::invalid_argument)
      .subject("logits")
      .say("logit {} is {}, expected a finite number or -infinity", index,
           std::isnan(value) ? "NaN" : "+infinity");
}

// The first of the largest logits. Blocks without a larger one (nearly all) are passed at vector speed: the
// comparison is false for NaN too, so one test finds both.
size_t find_largest(std::span<const float> logits) {
  float largest = -std::numeric_limits<float>::infinity();
  size_t index = logits.size();
  for (size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const size_t end = std::min(begin + kBlock, logits.size());
    uint32_t n_hits = 0;
    for (size_t i = begin; i < end; ++i) n_hits |= logits[i] <= largest ? 0u : 1u;
    if (n_hits == 0) continue;
    for (size_t i = begin; i < end; ++i) {
      if (logits[i] <= largest) continue;
      if (!(logits[i] < std::numeric_limits<float>::infinity())) refuse_logit(logits[i], i);
      largest = logits[i];
      index = i;
    }
  }
  if (index == logits.size()) {
    throw Error(Status::invalid_argument)
        .subject("logits")
        .say("all {} logits are -infinity, expected at least one token to choose", logits.size());
  }
  return index;
}

void require_token(const char* what, int32_t token, size_t n_tokens) {
  if (token >= 0 && static_cast<size_t>(token) < n_tokens) return;
  throw Error(Status::out_of_range)
      .subject(what)
      .say("{}: token {}, but there are {} logits", what, token, n_tokens);
}

// How far a device's sum of exponentials may be from the one that truncate() makes, with room to spare.
constexpr double kSumTolerance = 3e-4;

}  // namespace

// Weights of a distribution over logits: exp((logit - largest) * inverse_temperature), 1 for the largest.
class Sampler::Weights {
 public:
  Weights(std::span<const float> logits, float largest, double temperature)
      : logits_(logits), largest_(largest), inverse_temperature_(1.0 / temperature) {}

  double of(float logit) const { return weight_of_bounded(exponent(logit)); }

  double sum_of_block(size_t begin) const {
    const size_t length = std::min(kBlock, logits_.size() - begin);
    double weights[kBlock];
    // Two loops: with the bound in the same one, the compiler branches on it instead of using vectors.
    for (size_t i = 0; i < length; ++i) weights[i] = exponent(logits_[begin + i]);
    for (size_t i = 0; i < length; ++i) weights[i] = weight_of_bounded(weights[i]);
    double sum = 0;
    for (size_t i = 0; i < length; ++i) sum += weights[i];
    return sum;
  }

  double sum() const {
    double total = 0;
    for (size_t begin = 0; begin < logits_.size(); begin += kBlock) total += sum_of_block(begin);
    return total;
  }

 private:
  double exponent(float logit) const {
    return std::max((static_cast<double>(logit) - largest_) * inverse_temperature_, kLowestExponent);
  }

  std::span<const float> logits_;
  double largest_, inverse_temperature_;
};

Sampler::Sampler(const SamplerOptions& options, Device* device) : options_(options), device_(device) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  require_within("temperature", options.temperature, 0, kLargest);
  require_within("top_p", options.top_p, std::numeric_limits<float>::denorm_min(), 1);
  require_within("min_p", options.min_p, 0, 1);
  require_within("repetition_penalty", options.repetition_penalty, std::numeric_limits<float>::min(),
                 kLargest);
  require_within("presence_penalty", options.presence_penalty, -kLargest, kLargest);
  require_within("frequency_penalty", options.frequency_penalty, -kLargest, kLargest);
  if (options.top_k < 0) {
    throw Error(Status::invalid_argument)
        .subject("top_k")
        .say("top_k is {}, expected 0 or more", options.top_k);
  }
  if (options.top_logprobs < -1) {
    throw Error(Status::invalid_argument)
        .subject("top_logprobs")
        .say("top_logprobs is {}, expected -1 or more", options.top_logprobs);
  }
  for (const auto& [token, bias] : options.logit_bias) {
    if (token < 0 || !(bias < std::numeric_limits<float>::infinity())) {
      throw Error(Status::invalid_argument)
          .subject("logit_bias")
          .say("logit_bias of token {} is {}, expected a token of 0 or more and a number below infinity",
               token, bias);
    }
  }
}

bool Sampler::is_better(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

// The k best, best first. Keeps at most 2k candidates at a time: linear in the vocabulary for any k.
std::vector<Sampler::Candidate> Sampler::select_best(std::span<const float> logits, int64_t k) {
  const auto keep = static_cast<size_t>(std::min<int64_t>(k, static_cast<int64_t>(logits.size())));
  std::vector<Candidate> best;
  if (keep == 0) return best;
  best.reserve(2 * keep);
  float border = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] <= border) continue;  // equal to the border: a lower id already has the place
    best.push_back({logits[i], static_cast<int32_t>(i)});
    if (best.size() < 2 * keep) continue;
    const auto last = best.begin() + static_cast<int64_t>(keep) - 1;
    std::nth_element(best.begin(), last, best.end(), is_better);
    border = last->logit;
    best.resize(keep);
  }
  std::sort(best.begin(), best.end(), is_better);
  best.resize(std::min(keep, best.size()));
  return best;
}

bool Sampler::is_adjusting() const {
  return !options_.logit_bias.empty() || options_.repetition_penalty != 1 || options_.presence_penalty != 0 ||
         options_.frequency_penalty != 0;
}

bool Sampler::is_truncating(size_t n_tokens) const {
  const bool by_count = options_.top_k > 0 && static_cast<size_t>(options_.top_k) < n_tokens;
  return by_count || options_.top_p < 1 || options_.min_p > 0;
}

void Sampler::adjust(std::span<float> logits, std::span<const int32_t> history) const {
  for (const auto& [token, bias] : options_.logit_bias) {
    require_token("logit_bias", token, logits.size());
    logits[static_cast<size_t>(token)] += bias;
  }
  std::vector<int32_t> seen(history.begin(), history.end());
  std::sort(seen.begin(), seen.end());
  for (auto begin = seen.begin(); begin != seen.end();) {
    const auto end = std::upper_bound(begin, seen.end(), *begin);
    require_token("history", *begin, logits.size());
    float& logit = logits[static_cast<size_t>(*begin)];
    logit = logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
    logit -= options_.presence_penalty + options_.frequency_penalty * static_cast<float>(end - begin);
    begin = end;
  }
}

// What top-k, top-p and min-p leave, best first.
std::vector<Sampler::Candidate> Sampler::truncate(std::span<const float> logits, float largest) const {
  const Weights weights(logits, largest, options_.temperature);
  const bool by_count = options_.top_k > 0 && static_cast<size_t>(options_.top_k) < logits.size();
  std::vector<Candidate> kept;
  double total = 0;
  if (by_count) {
    kept = select_best(logits, options_.top_k);
    for (const Candidate& candidate : kept) total += weights.of(candidate.logit);
  } else {
    // All tokens below `floor` together have less than the share that top-p drops, so none of them is needed.
    double floor = options_.min_p;
    if (options_.top_p < 1) {
      total = weights.sum();
      const double spare = (1.0 - static_cast<double>(options_.top_p)) * 0.5;
      floor = std::max(floor, spare * total / static_cast<double>(logits.size()));
    }
    // Compared as logits, and low enough that rounding loses none; the loop below is exact.
    const double border = static_cast<double>(largest) + std::log(floor * 0.999) * options_.temperature;
    for (size_t i = 0; i < logits.size(); ++i) {
      if (static_cast<double>(logits[i]) >= border) kept.push_back({logits[i], static_cast<int32_t>(i)});
    }
    std::sort(kept.begin(), kept.end(), is_better);
  }
  kept.resize(*count_kept(kept, weights, {total, total}));
  return kept;
}

// How many of the best top-p and min-p leave; none: that depends on what the mass is exactly.
std::optional<size_t> Sampler::count_kept(std::span<const Candidate> best, const Weights& weights,
                                          Mass mass) const {
  const double top_p = options_.top_p, min_p = options_.min_p;
  double share = 0;
  for (size_t n = 0; n < best.size(); ++n) {
    const double next = weights.of(best[n].logit);
    if (n > 0 && next < min_p) return n;
    if (n > 0 && top_p < 1) {
      if (share >= top_p * mass.most) return n;
      if (share >= top_p * mass.least) return std::nullopt;
    }
    share += next;
  }
  return best.size();
}

// The same; none: `top` does not say.
std::optional<std::vector<Sampler::Candidate>> Sampler::truncate(const TopLogits& top) const {
  const Weights weights({}, top.logits[0], options_.temperature);
  const bool by_count = options_.top_k > 0 && options_.top_k < top.n_logits;
  const bool is_exact = by_count && (options_.top_k <= TopLogits::kMost || top.n < TopLogits::kMost);
  std::vector<Candidate> best;
  for (int32_t i = 0; i < (is_exact ? std::min(options_.top_k, top.n) : top.n); ++i) {
    best.push_back({top.logits[i], top.tokens[i]});
  }
  Mass mass{0, 0};
  if (is_exact) {
    for (const Candidate& candidate : best) mass.most += weights.of(candidate.logit);
    mass.least = mass.most;
  } else if (options_.top_p < 1) {
    if (by_count || !has_top_scale() || top.scale != top_scale()) return std::nullopt;
    mass = {top.scaled_sum * (1 - kSumTolerance), top.scaled_sum * (1 + kSumTolerance)};
  }
  const std::optional<size_t> n_kept = count_kept(best, weights, mass);
  if (!n_kept || (*n_kept == best.size() && !is_exact)) return std::nullopt;
  best.resize(*n_kept);
  return best;
}

// Inverse of the cumulative distribution, the most probable token first. That is also the answer in the one
// case that rounding leaves a gap at the end.
int32_t Sampler::draw(std::span<const Candidate> kept, const Weights& weights, uint64_t position) const {
  const double uniform = CounterRandom(options_.seed, options_.stream).uniform(position);
  double total = 0, below = 0;
  for (const Candidate& candidate : kept) total += weights.of(candidate.logit);
  for (const Candidate& candidate : kept) {
    below += weights.of(candidate.logit);
    if (uniform * total < below) return candidate.token;
  }
  return kept.front().token;
}

// The same for all tokens, in their order.
int32_t Sampler::draw(std::span<const float> logits, size_t best, uint64_t position) const {
  const float largest = logits[best];
  const Weights weights(logits, largest, options_.temperature);
  if (is_truncating(logits.size())) return draw(truncate(logits, largest), weights, position);
  const double uniform = CounterRandom(options_.seed, options_.stream).uniform(position);
  double total = 0, below = 0;
  std::vector<double> blocks;
  blocks.reserve(logits.size() / kBlock + 1);
  for (size_t begin = 0; begin < logits.size(); begin += kBlock) {
    blocks.push_back(weights.sum_of_block(begin));
    total += blocks.back();
  }
  size_t begin = 0;
  for (size_t block = 0; block + 1 < blocks.size() && uniform * total >= below + blocks[block]; ++block) {
    below += blocks[block];
    begin += kBlock;
  }
  double within = 0;
  for (size_t i = begin; i < std::min(begin + kBlock, logits.size()); ++i) {
    within += weights.of(logits[i]);
    if (uniform * total < below + within) return static_cast<int32_t>(i);
  }
  return static_cast<int32_t>(best);
}

Sampler::Peak Sampler::find_peak(std::span<const float> logits) const {
  const bool wants_total = options_.top_logprobs >= 0;
  if (device_ != nullptr && wants_total) {
    const SoftmaxStats stats =
        device_->kernels().softmax_stats(*device_, logits.data(), std::ssize(logits), 1.0F);
    if (stats.index >= 0) return {static_cast<size_t>(stats.index), stats.sum};
  }
  const size_t index = find_largest(logits);  // or says what is wrong with them
  return {index, wants_total ? Weights(logits, logits[index], 1).sum() : 0.0};
}

void Sampler::add_logprobs(std::span<const float> logits, const Peak& peak, SampledToken& result) const {
  const double log_total = static_cast<double>(logits[peak.index]) + std::log(peak.total);
  const auto logprob = [&](float logit) {
    return static_cast<float>(static_cast<double>(logit) - log_total);
  };
  result.logprob = logprob(logits[static_cast<size_t>(result.token)]);
  for (const Candidate& candidate : select_best(logits, options_.top_logprobs)) {
    result.top.emplace_back(candidate.token, logprob(candidate.logit));
  }
}

SampledToken Sampler::sample(std::span<const float> logits, std::span<const int32_t> history,
                             uint64_t position) const {
  check_logits(logits);
  std::vector<float> adjusted;
  if (is_adjusting()) {
    adjusted.assign(logits.begin(), logits.end());
    adjust(adjusted, history);
    logits = adjusted;
  }
  const Peak peak = find_peak(logits);
  SampledToken result;
  result.token =
      options_.temperature > 0 ? draw(logits, peak.index, position) : static_cast<int32_t>(peak.index);
  if (options_.top_logprobs >= 0) add_logprobs(logits, peak, result);
  return result;
}

// --- without all the logits -----------------------------------------------------------------------------

bool Sampler::has_top_scale() const {
  const float scale = options_.temperature > 0 ? 1.0F / options_.temperature : 0.0F;
  return scale >= 1e-6F && scale <= 1e6F;
}

float Sampler::top_scale() const { return has_top_scale() ? 1.0F / options_.temperature : 1.0F; }

bool Sampler::may_do_with_top() const {
  if (is_adjusting() || options_.top_logprobs > TopLogits::kMost) return false;
  return options_.temperature == 0 || options_.top_k > 0 || options_.top_p < 1 || options_.min_p > 0;
}

bool Sampler::can_sample(const TopLogits& top) const {
  if (!may_do_with_top() || top.n == 0) return false;
  if (options_.temperature == 0) return true;
  if (!is_truncating(static_cast<size_t>(top.n_logits))) return false;
  const bool is_counted = options_.top_k > 0 && options_.top_k < top.n_logits;
  return (is_counted && options_.top_k <= TopLogits::kMost) || truncate(top).has_value();
}

SampledToken Sampler::sample(const TopLogits& top, uint64_t position) const {
  SampledToken result;
  result.token = top.tokens[0];
  if (options_.temperature > 0) {
    result.token = draw(truncate(top).value(), Weights({}, top.logits[0], options_.temperature), position);
  }
  if (options_.top_logprobs < 0) return result;
  const double log_total = static_cast<double>(top.logits[0]) + std::log(top.sum);
  const auto logprob = [&](int32_t i) {
    return static_cast<float>(static_cast<double>(top.logits[i]) - log_total);
  };
  result.logprob =
      logprob(static_cast<int32_t>(std::find(top.tokens, top.tokens + top.n, result.token) - top.tokens));
  for (int32_t i = 0; i < std::min(options_.top_logprobs, top.n); ++i) {
    result.top.emplace_back(top.tokens[i], logprob(i));
  }
  return result;
}

std::vector<double> Sampler::distribution(std::span<const float> logits,
                                          std::span<const int32_t> history) const {
  check_logits(logits);
  std::vector<float> adjusted(logits.begin(), logits.end());
  if (is_adjusting()) adjust(adjusted, history);
  const size_t best = find_largest(adjusted);
  const float largest = adjusted[best];
  std::vector<double> probabilities(adjusted.size(), 0.0);
  if (options_.temperature == 0) {
    probabilities[best] = 1;
    return probabilities;
  }
  const Weights weights(adjusted, largest, options_.temperature);
  if (is_truncating(adjusted.size())) {
    for (const Candidate& candidate : truncate(adjusted, largest)) {
      probabilities[static_cast<size_t>(candidate.token)] = weights.of(candidate.logit);
    }
  } else {
    for (size_t i = 0; i < adjusted.size(); ++i) probabilities[i] = weights.of(adjusted[i]);
  }
  double total = 0;
  for (const double probability : probabilities) total += probability;
  for (double& probability : probabilities) probability /= total;
  return probabilities;
}

}  // namespace nanochat
