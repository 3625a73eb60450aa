// Attention of encoders: windows to both sides, keys that all queries see, biases by distance.
#include "attention_sequence.h"

namespace nanochat::testing {
namespace {

class AttentionBothWays : public EveryDevice {};
NANOCHAT_ON_EVERY_DEVICE(AttentionBothWays);
class AttentionBothWaysOnThreads : public EveryIsa {};
NANOCHAT_ON_EVERY_ISA(AttentionBothWaysOnThreads);

AttentionShape with_windows(AttentionShape shape, int64_t left, int64_t right, int64_t global_keys = 0) {
  shape.window_left = left;
  shape.window_right = right;
  shape.global_keys = global_keys;
  return shape;
}

std::vector<AttentionShape> shapes() {
  const AttentionShape narrow = shape_of(3, 1, 20, -1), usual = shape_of(2, 2, 32, -1),
                       wide = shape_of(2, 1, 64, -1);
  return {with_windows(usual, -1, -1),      with_windows(wide, -1, -1),     with_windows(narrow, 5, 3),
          with_windows(usual, 64, 64),      with_windows(wide, 0, 70),      with_windows(narrow, 100, -1),
          with_windows(usual, -1, 10),      with_windows(usual, 16, 16, 1), with_windows(narrow, 3, 3, 2),
          with_windows(wide, 70, 70, 70),   with_windows(usual, 0, 0, 130), with_windows(wide, 5, 0, 3),
          with_windows(narrow, 80, 80, 64), with_windows(usual, 30, -1, 1)};
}

TEST_P(AttentionBothWays, AQueryLooksAsFarAsItsWindowsReachAndAtTheGlobalKeys) {
  for (const AttentionShape& shape : shapes()) {
    for (const int64_t length : sizes({1, 2, 64, 65, 210}, {1, 65, 210})) {
      Sequence s(shape, length, 7);
      expect_agrees(s, feed(device(), {{&s, 0, length}}));
    }
  }
}

TEST_P(AttentionBothWays, PagesOfBf16AndInt8AgreeWithTheOracleOfWhatTheyStore) {
  for (const DType dtype : {DType::bf16, DType::i8}) {
    for (const AttentionShape& shape : shapes()) {
      for (const int64_t length : sizes({1, 64, 149}, {1, 149})) {
        Sequence s(in_pages_of(dtype, shape), length, 7);
        for (float& q : s.q) q = rounded_to(DType::bf16, q);
        expect_agrees(as_stored(s), feed(device(), {{&s, 0, length}}), 0x1p-8 + 1e-4);
      }
    }
  }
}

TEST_P(AttentionBothWays, ABiasIsAddedByTheClippedDistanceOfKeyAndQuery) {
  for (const int64_t reach : {0, 20, 128}) {
    const std::vector<float> bias = random_floats(8, 6 * (2 * reach + 1), 4.0F);
    for (const AttentionShape& any : {shape_of(6, 6, 16, -1), shape_of(6, 2, 64, -1)}) {
      for (AttentionShape shape :
           {with_windows(any, -1, -1), with_windows(any, -1, 0), with_windows(any, 30, 30, 1)}) {
        shape.bias = bias.data();
        shape.bias_reach = reach;
        for (const int64_t length : {1, 150}) {
          Sequence s(shape, length, 9);
          expect_agrees(s, feed(device(), {{&s, 0, length}}));
        }
      }
    }
  }
}

TEST_P(AttentionBothWays, ALoneQuerySeesAllKeysOfItsPages) {
  for (const int64_t length : {1, 64, 300}) {
    Sequence s(with_windows(shape_of(3, 3, 64, -1), -1, -1), length, 13);
    append(device(), s, 0, length);
    for (const int64_t position : {int64_t{0}, length / 2, length - 1}) {
      const std::vector<float> y = feed(device(), {{&s, position, 1, length}}, Pages::have);
      for (int64_t head = 0; head < 3; ++head) {
        const std::vector<double> expected = oracle_row(s, position, head, length);
        for (size_t i = 0; i < 64; ++i) {
          ASSERT_NEAR(y[static_cast<size_t>(head * 64) + i], expected[i], 2e-5) << length;
        }
      }
    }
  }
}

std::vector<AttentionShape> shapes_of_every_type(const std::vector<float>& bias) {
  std::vector<AttentionShape> all;
  for (const DType dtype : kPageTypes) {
    for (const AttentionShape& shape : shapes()) all.push_back(in_pages_of(dtype, shape));
    all.push_back(all.back());
    all.back().bias = bias.data();
    all.back().bias_reach = 20;
  }
  return all;
}

TEST_P(AttentionBothWays, ARowHasTheSameBitsInOnePieceInPartsAndAmongOtherSequences) {
  const std::vector<float> bias = random_floats(10, 3 * 41);
  for (const AttentionShape& shape : shapes_of_every_type(bias)) {
    Sequence s(shape, 150, 11), other(shape, 70, 31);
    const std::vector<float> y = feed(device(), {{&s, 0, 150}}), y_other = feed(device(), {{&other, 0, 70}});
    std::vector<float> parts;
    for (int64_t position = 0, n = 1; position < 150; position += n, n = n * 2 + 3) {
      n = std::min(n, 150 - position);
      const std::vector<float> part = feed(device(), {{&s, position, n, 150}}, Pages::have);
      parts.insert(parts.end(), part.begin(), part.end());
    }
    ASSERT_EQ(parts.size(), y.size());
    EXPECT_TRUE(same_bits(y.data(), parts.data(), std::ssize(y))) << shape.window_left;
    const std::vector<float> batch = feed(device(), {{&other, 0, 70}, {&s, 0, 150}});
    EXPECT_TRUE(same_bits(batch.data(), y_other.data(), std::ssize(y_other)));
    EXPECT_TRUE(same_bits(batch.data() + y_other.size(), y.data(), std::ssize(y)));
  }
}

TEST_P(AttentionBothWaysOnThreads, EveryNumberOfThreadsGivesTheSameBits) {
  for (const DType dtype : kPageTypes) {
    for (const AttentionShape& shape :
         {with_windows(shape_of(2, 2, 64, -1), -1, -1), with_windows(shape_of(2, 1, 32, -1), 128, 128, 1)}) {
      std::vector<float> first;
      for (const int n_threads : {1, 2, 3, 7}) {
        const auto on = make_device(GetParam(), n_threads);
        Sequence s(in_pages_of(dtype, shape), 600, 51);
        std::vector<float> y = feed(*on, {{&s, 0, 600}});
        const std::vector<float> lone = feed(*on, {{&s, 3, 1, 600}}, Pages::have);
        y.insert(y.end(), lone.begin(), lone.end());
        if (first.empty()) first = y;
        EXPECT_TRUE(same_bits(y.data(), first.data(), std::ssize(y))) << n_threads << " threads";
      }
    }
  }
}

TEST_P(AttentionBothWays, ARowThatIsNotANumberStaysOutOfTheRowsThatDoNotSeeIt) {
  for (const DType dtype : kPageTypes) {
    for (const int64_t bad : {90, 91}) {
      Sequence clean(in_pages_of(dtype, with_windows(shape_of(2, 1, 64, -1), 7, 9, 1)), 140, 61);
      Sequence broken = clean;
      std::fill_n(broken.k.begin() + bad * clean.kv_width(), clean.kv_width(), NAN);
      std::fill_n(broken.v.begin() + bad * clean.kv_width(), clean.kv_width(), INFINITY);
      const std::vector<float> expected = feed(device(), {{&clean, 0, 140}});
      const std::vector<float> y = feed(device(), {{&broken, 0, 140}});
      for (int64_t row = 0; row < 140; ++row) {
        const int64_t at = row * clean.q_width();
        if (sees(clean.shape, row, bad)) {
          EXPECT_TRUE(std::isnan(y[static_cast<size_t>(at)])) << row;
        } else {
          EXPECT_TRUE(same_bits(y.data() + at, expected.data() + at, clean.q_width())) << row;
        }
      }
    }
  }
}

}  // namespace
}  // namespace nanochat::testing
