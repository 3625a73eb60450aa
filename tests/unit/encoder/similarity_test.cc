#include "encoder/similarity.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"

namespace nanochat {
namespace {

std::vector<float> normals(uint64_t seed, size_t n) {
  const CounterRandom random(seed, 2);
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = static_cast<float>(random.normal(i));
  return values;
}

TEST(DotProduct, EqualsALoopInLongDouble) {
  for (size_t n = 0; n < 70; ++n) {
    const std::vector<float> a = normals(1, n), b = normals(2, n);
    long double sum = 0.0L;
    for (size_t i = 0; i < n; ++i) sum += static_cast<long double>(a[i]) * static_cast<long double>(b[i]);
    EXPECT_NEAR(dot_product(a, b), static_cast<double>(sum), 1e-13) << n;
  }
}

TEST(DotProduct, AddsInTheDocumentedOrder) {
  const std::vector<float> a = normals(3, 21), b = normals(4, 21);
  double s[8] = {};
  for (size_t i = 0; i < 21; ++i) s[i % 8] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  EXPECT_EQ(dot_product(a, b), ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7])));
}

TEST(CosineSimilarity, IsOneForTheSameDirectionAndZeroForZeros) {
  const std::vector<float> a = normals(5, 100);
  std::vector<float> twice = a, opposite = a;
  for (float& value : twice) value *= 2;
  for (float& value : opposite) value *= -3;
  EXPECT_NEAR(cosine_similarity(a, twice), 1.0, 1e-15);
  EXPECT_NEAR(cosine_similarity(a, opposite), -1.0, 1e-7);
  EXPECT_LE(cosine_similarity(a, a), 1.0);
  const std::vector<float> zeros(100, 0.0F);
  EXPECT_EQ(cosine_similarity(a, zeros), 0.0);
  EXPECT_EQ(cosine_similarity(zeros, zeros), 0.0);
  EXPECT_EQ(cosine_similarity({}, {}), 0.0);
  const std::vector<float> huge(100, 3e38F), tiny(100, 1e-45F);
  EXPECT_NEAR(cosine_similarity(huge, tiny), 1.0, 1e-12);
}

TEST(CosineSimilarity, LetsNanThrough) {
  const std::vector<float> a = {1.0F, std::nanf("")}, b = {1.0F, 1.0F};
  EXPECT_TRUE(std::isnan(cosine_similarity(a, b)));
}

TEST(MaxSim, SumsTheBestMatchOfEachQueryToken) {
  const std::vector<float> query = {1, 0, 0, 1}, document = {0.5F, 0, 0, 0.25F, -1, 2};
  EXPECT_EQ(max_sim(query, document, 2), 0.5 + 2.0);
  EXPECT_EQ(max_sim(std::vector<float>{-1, 0}, document, 2), 1.0);
  EXPECT_EQ(max_sim({}, document, 2), 0.0);
  EXPECT_EQ(max_sim(std::vector<float>{0, 0}, document, 2), 0.0);
}

TEST(MaxSim, EqualsALoopInDouble) {
  const std::vector<float> query = normals(6, 32 * 128), document = normals(7, 57 * 128);
  double sum = 0.0;
  for (size_t q = 0; q < 32; ++q) {
    double best = -std::numeric_limits<double>::infinity();
    for (size_t d = 0; d < 57; ++d) {
      double dot = 0.0;
      for (size_t i = 0; i < 128; ++i) {
        dot += static_cast<double>(query[q * 128 + i]) * static_cast<double>(document[d * 128 + i]);
      }
      best = std::max(best, dot);
    }
    sum += best;
  }
  EXPECT_NEAR(max_sim(query, document, 128), sum, 1e-10);
}

std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
  std::vector<std::byte> bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

TEST(Hamming, CountsBitsThatDiffer) {
  EXPECT_EQ(hamming_distance(bytes_of({0xff, 0x0f}), bytes_of({0x0f, 0x0e}), 16), 5);
  EXPECT_EQ(hamming_distance(bytes_of({0xff, 0xff}), bytes_of({0xff, 0x00}), 10), 2) << "bits past 10";
  EXPECT_EQ(hamming_similarity(bytes_of({0xff, 0xff}), bytes_of({0xff, 0x00}), 16), 0.5);
  EXPECT_EQ(hamming_similarity({}, {}, 0), 1.0);
}

TEST(Similarities, RefuseLengthsThatDifferWithBoth) {
  const std::vector<float> three(3), four(4);
  try {
    dot_product(three, four);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::invalid_argument);
    EXPECT_EQ(error.message(), "the first vector has 3 values, the second 4");
  }
  EXPECT_THROW(cosine_similarity(three, four), Error);
  EXPECT_THROW(max_sim(three, four, 2), Error);
  EXPECT_THROW(max_sim(four, {}, 2), Error);
  EXPECT_THROW(max_sim(four, four, 0), Error);
  EXPECT_THROW(hamming_distance(bytes_of({1}), bytes_of({1, 2}), 8), Error);
  EXPECT_THROW(hamming_distance(bytes_of({1}), bytes_of({1}), 9), Error);
  EXPECT_THROW(hamming_distance(bytes_of({1}), bytes_of({1}), -1), Error);
}

}  // namespace
}  // namespace nanochat
