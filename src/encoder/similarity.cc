#include "encoder/similarity.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "base/error.h"

namespace nanochat {

namespace {

constexpr size_t kLanes = 8;

double ordered_dot(const float* a, const float* b, size_t n) {
  std::array<double, kLanes> sums{};
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      sums[lane] += static_cast<double>(a[i + lane]) * static_cast<double>(b[i + lane]);
    }
  }
  for (size_t lane = 0; i < n; ++i, ++lane)
    sums[lane] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  for (size_t half = kLanes / 2; half > 0; half /= 2) {
    for (size_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  }
  return sums[0];
}

void require_same_length(size_t a, size_t b) {
  if (a == b) return;
  throw Error(Status::invalid_argument)
      .subject("vectors")
      .say("the first vector has {} values, the second {}", a, b);
}

size_t tokens_of(std::span<const float> rows, int64_t width, const char* name) {
  const auto row = static_cast<size_t>(width);
  if (width >= 1 && rows.size() % row == 0) return rows.size() / row;
  throw Error(Status::invalid_argument)
      .subject(name)
      .say("the {} has {} values, expected whole tokens of {}", name, rows.size(), width);
}

size_t bytes_of_bits(int64_t n_bits) { return (static_cast<size_t>(n_bits) + 7) / 8; }

void require_bits(std::span<const std::byte> bits, int64_t n_bits) {
  if (n_bits >= 0 && bits.size() == bytes_of_bits(n_bits)) return;
  throw Error(Status::invalid_argument).subject("bits").say("{} bytes for {} bits", bits.size(), n_bits);
}

}  // namespace

double dot_product(std::span<const float> a, std::span<const float> b) {
  require_same_length(a.size(), b.size());
  return ordered_dot(a.data(), b.data(), a.size());
}

double cosine_similarity(std::span<const float> a, std::span<const float> b) {
  require_same_length(a.size(), b.size());
  const double squares_a = ordered_dot(a.data(), a.data(), a.size());
  const double squares_b = ordered_dot(b.data(), b.data(), b.size());
  if (squares_a == 0.0 || squares_b == 0.0) return 0.0;
  const double cosine =
      ordered_dot(a.data(), b.data(), a.size()) / (std::sqrt(squares_a) * std::sqrt(squares_b));
  return std::isnan(cosine) ? cosine : std::clamp(cosine, -1.0, 1.0);
}

double max_sim(std::span<const float> query, std::span<const float> document, int64_t width) {
  const size_t n_query = tokens_of(query, width, "query");
  const size_t n_document = tokens_of(document, width, "document");
  if (n_document == 0) {
    throw Error(Status::invalid_argument)
        .subject("document")
        .say("the document has 0 tokens, expected one at least");
  }
  const auto row = static_cast<size_t>(width);
  double sum = 0.0;
  for (size_t q = 0; q < n_query; ++q) {
    double largest = ordered_dot(query.data() + q * row, document.data(), row);
    for (size_t d = 1; d < n_document; ++d) {
      const double product = ordered_dot(query.data() + q * row, document.data() + d * row, row);
      if (product > largest || std::isnan(product)) largest = product;
    }
    sum += largest;
  }
  return sum;
}

int64_t hamming_distance(std::span<const std::byte> a, std::span<const std::byte> b, int64_t n_bits) {
  require_bits(a, n_bits);
  require_bits(b, n_bits);
  int64_t distance = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    auto differing = static_cast<uint8_t>(a[i] ^ b[i]);
    const int64_t left = n_bits - static_cast<int64_t>(i) * 8;
    if (left < 8) differing = static_cast<uint8_t>(differing & ((1U << left) - 1U));
    distance += std::popcount(differing);
  }
  return distance;
}

double hamming_similarity(std::span<const std::byte> a, std::span<const std::byte> b, int64_t n_bits) {
  const int64_t distance = hamming_distance(a, b, n_bits);
  return n_bits == 0 ? 1.0 : 1.0 - static_cast<double>(distance) / static_cast<double>(n_bits);
}

}  // namespace nanochat
