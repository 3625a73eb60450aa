#include "attention_sequence.h"

namespace nanochat::testing {
namespace {

class Attention : public EveryDevice {
 protected:
  std::vector<int64_t> lengths() const { return sizes({1, 2, 63, 64, 65, 200}, {1, 65, 130}); }
};
NANOCHAT_ON_EVERY_DEVICE(Attention);
class AttentionOnThreads : public EveryIsa {};
NANOCHAT_ON_EVERY_ISA(AttentionOnThreads);

std::vector<AttentionShape> shapes() {
  return {shape_of(1, 1, 8, -1),    shape_of(3, 1, 20, 5),   shape_of(4, 2, 64, 64),
          shape_of(2, 2, 128, 100), shape_of(6, 2, 128, -1), shape_of(2, 1, 96, 0),
          shape_of(8, 8, 16, 1),    shape_of(2, 1, 130, 70), shape_of(1, 1, 256, -1)};
}

std::vector<AttentionShape> shapes_of_every_type() {
  std::vector<AttentionShape> all;
  for (const DType dtype : kPageTypes) {
    for (const AttentionShape& shape : shapes()) all.push_back(in_pages_of(dtype, shape));
  }
  return all;
}

TEST_P(Attention, AWholePromptAgreesWithTheOracle) {
  for (const AttentionShape& shape : shapes()) {
    for (const int64_t length : lengths()) {
      Sequence s(shape, length, 7);
      expect_agrees(s, feed(device(), {{&s, 0, length}}));
    }
  }
}

// Softmax weights are rounded to bf16, each by 2^-8 of itself at most; |v| <= 1, so the sum is not off by
// more. What queries lose is kept out: they are numbers of bf16 already.
TEST_P(Attention, PagesOfBf16AndInt8AgreeWithTheOracleOfWhatTheyStore) {
  for (const DType dtype : {DType::bf16, DType::i8}) {
    for (const AttentionShape& shape : shapes()) {
      for (const int64_t length : lengths()) {
        Sequence s(in_pages_of(dtype, shape), length, 7);
        for (float& q : s.q) q = rounded_to(DType::bf16, q);
        expect_agrees(as_stored(s), feed(device(), {{&s, 0, length}}), 0x1p-8 + 1e-4);
      }
    }
  }
}

TEST_P(Attention, QueriesAreRoundedToBf16ForPagesOfBf16AndInt8) {
  if (GetParam() == "reference") GTEST_SKIP() << "which takes them as they are";
  for (const DType dtype : {DType::bf16, DType::i8}) {
    for (const AttentionShape& shape : shapes()) {
      Sequence s(in_pages_of(dtype, shape), 150, 9), rounded = s;
      for (float& q : rounded.q) q = rounded_to(DType::bf16, q);
      const std::vector<float> y = feed(device(), {{&s, 0, 150}}),
                               expected = feed(device(), {{&rounded, 0, 150}});
      EXPECT_TRUE(same_bits(y.data(), expected.data(), static_cast<int64_t>(y.size()))) << shape.head_dim;
    }
  }
}

TEST_P(Attention, ARowHasTheSameBitsFedInOnePieceInChunksOrAlone) {
  const int64_t n_singly_before = size(0, 125);
  for (const AttentionShape& shape : shapes_of_every_type()) {
    Sequence whole(shape, 150, 11), chunks(shape, 150, 11), singly(shape, 150, 11);
    const std::vector<float> y = feed(device(), {{&whole, 0, 150}});
    std::vector<float> y_chunks, y_singly;
    for (int64_t position = 0, n = 1; position < 150; position += n, n = n * 2 + 3) {
      n = std::min(n, 150 - position);
      const std::vector<float> part = feed(device(), {{&chunks, position, n}});
      y_chunks.insert(y_chunks.end(), part.begin(), part.end());
    }
    append(device(), singly, 0, n_singly_before);
    y_singly.assign(y.begin(), y.begin() + n_singly_before * whole.q_width());
    for (int64_t position = n_singly_before; position < 150; ++position) {
      const std::vector<float> part = feed(device(), {{&singly, position, 1}});
      y_singly.insert(y_singly.end(), part.begin(), part.end());
    }
    const auto n = static_cast<int64_t>(y.size());
    ASSERT_EQ(y_chunks.size(), y.size());
    EXPECT_TRUE(same_bits(y.data(), y_chunks.data(), n)) << "chunks, head_dim " << shape.head_dim;
    EXPECT_TRUE(same_bits(y.data(), y_singly.data(), n)) << "singly, head_dim " << shape.head_dim;
  }
}

// Far enough for keys to be cut into parts.
TEST_P(Attention, ARowHasTheSameBitsInABatchOfSequencesAtOtherPositions) {
  for (const AttentionShape& shape : shapes_of_every_type()) {
    Sequence a(shape, 130, 21), b(shape, 70, 31), c(shape, 9, 41);
    Sequence a2 = a, b2 = b, c2 = c;
    feed(device(), {{&a, 0, 100}});
    feed(device(), {{&b, 0, 69}});
    feed(device(), {{&a2, 0, 100}});
    feed(device(), {{&b2, 0, 69}});
    const std::vector<float> batch = feed(device(), {{&a, 100, 30}, {&b, 69, 1}, {&c, 0, 9}});
    std::vector<float> alone;
    for (const Part& part : {Part{&a2, 100, 30}, Part{&b2, 69, 1}, Part{&c2, 0, 9}}) {
      const std::vector<float> y = feed(device(), {part});
      alone.insert(alone.end(), y.begin(), y.end());
    }
    ASSERT_EQ(batch.size(), alone.size());
    EXPECT_TRUE(same_bits(batch.data(), alone.data(), static_cast<int64_t>(batch.size()))) << shape.head_dim;
  }
}

TEST_P(AttentionOnThreads, EveryNumberOfThreadsGivesTheSameBits) {
  for (const DType dtype : kPageTypes) {
    for (const AttentionShape& shape :
         {shape_of(6, 2, 64, 90), shape_of(4, 1, 128, -1), shape_of(9, 1, 100, 1000)}) {
      std::vector<float> first;
      for (const int n_threads : {1, 2, 3, 4, 7}) {
        const auto other = make_device(GetParam(), n_threads);
        Sequence s(in_pages_of(dtype, shape), 1800, 51);
        std::vector<float> y = feed(*other, {{&s, 0, 333}});
        append(*other, s, 333, 1797);
        for (const Part& few : {Part{&s, 1797, 1}, Part{&s, 1798, 2}}) {  // many keys, few heads
          const std::vector<float> last = feed(*other, {few});
          y.insert(y.end(), last.begin(), last.end());
        }
        if (first.empty()) first = y;
        EXPECT_TRUE(same_bits(y.data(), first.data(), static_cast<int64_t>(y.size())))
            << n_threads << " threads " << dtype_name(dtype) << " head_dim " << shape.head_dim;
      }
    }
  }
}

// Many keys may be cut into pieces for few queries, and not for many.
TEST_P(Attention, ARowAfterManyKeysHasTheSameBitsAmongManyAmongFewAndAloneAndAgreesWithTheOracle) {
  const int64_t length = 1300, first = 1180;
  for (const DType dtype : kPageTypes) {
    for (const AttentionShape& shape :
         {shape_of(4, 1, 64, -1), shape_of(8, 1, 128, -1), shape_of(3, 1, 40, 600), shape_of(1, 1, 160, -1),
          shape_of(2, 1, 34, -1)}) {
      Sequence s(in_pages_of(dtype, shape), length, 15);
      for (float& q : s.q) q = rounded_to(DType::bf16, q);
      append(device(), s, 0, length);
      const std::vector<float> y = feed(device(), {{&s, first, length - first}}, Pages::have);
      const Sequence stored = as_stored(s);
      for (const Part& part : {Part{&s, first, 1}, Part{&s, 1210, 7}, Part{&s, length - 1, 1}}) {
        const std::vector<float> few = feed(device(), {part}, Pages::have);
        const float* among = y.data() + (part.position - first) * s.q_width();
        EXPECT_TRUE(same_bits(few.data(), among, part.n_rows * s.q_width()))
            << dtype_name(dtype) << " head_dim " << shape.head_dim << " position " << part.position;
        for (int64_t head = 0; head < shape.n_head; ++head) {
          const std::vector<double> expected = oracle_row(stored, part.position, head, part.position + 1);
          for (int64_t i = 0; i < shape.head_dim; ++i) {
            ASSERT_NEAR(few[static_cast<size_t>(head * shape.head_dim + i)], expected[static_cast<size_t>(i)],
                        dtype == DType::f32 ? 2e-5 : 0x1p-8 + 1e-4)
                << dtype_name(dtype) << " head_dim " << shape.head_dim << " position " << part.position;
          }
        }
      }
    }
  }
}

TEST_P(Attention, AnInfiniteValueReachesTheRowsThatSeeItAlone) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const int64_t bad : {70, 71}) {
      for (const float value : {INFINITY, -INFINITY, NAN}) {
        Sequence clean(in_pages_of(dtype, shape_of(2, 1, 64, 20)), 130, 61);
        Sequence broken = clean;
        broken.v[static_cast<size_t>(bad * 64 + 37)] = value;
        const std::vector<float> expected = feed(device(), {{&clean, 0, 130}});
        const std::vector<float> y = feed(device(), {{&broken, 0, 130}});
        const std::vector<float> few = feed(device(), {{&broken, 86, 8}}, Pages::have);
        for (size_t i = 0; i < few.size(); ++i) {
          const float among = y[86 * 128 + i];
          ASSERT_TRUE(std::isnan(among) ? std::isnan(few[i]) : few[i] == among) << i;
        }
        for (int64_t row = 0; row < 130; ++row) {
          for (int64_t column = 0; column < 128; ++column) {
            const auto at = static_cast<size_t>(row * 128 + column);
            if (column % 64 != 37 || !sees(clean.shape, row, bad)) {
              ASSERT_TRUE(same_bits(&y[at], &expected[at], 1)) << row << " " << column;
            } else {
              ASSERT_FALSE(std::isfinite(y[at])) << row;
              ASSERT_TRUE(std::isnan(y[at]) || y[at] == value) << row;
            }
          }
        }
      }
    }
  }
}

TEST_P(Attention, ARowThatIsNotANumberStaysOutOfTheRowsBeforeIt) {
  for (const DType dtype : kPageTypes) {
    for (const int64_t bad : {90, 91}) {
      Sequence clean(in_pages_of(dtype, shape_of(2, 1, 64, -1)), 100, 61);
      Sequence broken = clean;
      std::fill_n(broken.k.begin() + bad * clean.kv_width(), clean.kv_width(), NAN);
      std::fill_n(broken.v.begin() + bad * clean.kv_width(), clean.kv_width(), INFINITY);
      const std::vector<float> expected = feed(device(), {{&clean, 0, 100}});
      const std::vector<float> y = feed(device(), {{&broken, 0, 100}});
      EXPECT_TRUE(same_bits(y.data(), expected.data(), bad * clean.q_width()));
      EXPECT_TRUE(std::isnan(y[static_cast<size_t>(bad * clean.q_width())]));
    }
  }
}

TEST_P(Attention, AScoreFarAboveTheOthersTakesAllTheWeight) {
  Sequence s(shape_of(1, 1, 64, -1), 130, 71);
  for (float& q : s.q) q = 30.0F;
  for (float& k : s.k) k = -30.0F;
  std::fill_n(s.k.begin() + 65 * 64, 64, 30.0F);
  const std::vector<float> y = feed(device(), {{&s, 0, 130}});
  for (int64_t position = 65; position < 130; ++position) {
    for (int64_t i = 0; i < 64; ++i) {
      ASSERT_EQ(y[static_cast<size_t>(position * 64 + i)], s.v[static_cast<size_t>(65 * 64 + i)]) << position;
    }
  }
}

// What a page has of a head's position, read by the layout's own words (tensor/kv_page.h).
float element_in_page(const AttentionShape& shape, const std::vector<float>& page, bool is_key, int64_t head,
                      int64_t key, int64_t i) {
  const KvLayout layout = shape.kv_layout();
  const auto* layer = reinterpret_cast<const std::byte*>(page.data()) + Sequence::kBefore;
  const std::byte* values = layer + (is_key ? layout.k_offset(head) : layout.v_offset(head));
  const int64_t d = shape.head_dim;
  const auto pair_index = is_key ? (i / 2 * 64 + key) * 2 + i % 2 : (key / 2 * d + i) * 2 + key % 2;
  switch (shape.kv_dtype) {
    case DType::bf16:
      return float_from_bf16(reinterpret_cast<const uint16_t*>(values)[pair_index]);
    case DType::i8: {
      const std::byte* scales = layer + (is_key ? layout.k_scale_offset(head) : layout.v_scale_offset(head));
      return static_cast<float>(reinterpret_cast<const int8_t*>(values)[pair_index]) *
             reinterpret_cast<const float*>(scales)[key];
    }
    default:
      return reinterpret_cast<const float*>(values)[is_key ? i * 64 + key : key * d + i];
  }
}

TEST_P(Attention, AppendedRowsLieInThePagesAtTheirPositions) {
  for (const DType dtype : kPageTypes) {
    for (const int64_t d : {20, 128}) {
      Sequence s(in_pages_of(dtype, shape_of(4, 2, d, -1)), 70, 81);
      for (float& v : s.v) v *= 1e-3F;  // scales of their own
      std::fill_n(s.k.begin() + 7 * s.kv_width(), d, 0.0F);
      feed(device(), {{&s, 0, 4}});
      feed(device(), {{&s, 4, 3}});
      feed(device(), {{&s, 7, 63}});
      const Sequence stored = as_stored(s);
      std::vector<std::vector<float>> pages;
      for (const DeviceArray<float>& page : s.pages.pages) pages.push_back(page.to_host());
      const auto element = [&](bool is_key, int64_t head, int64_t position, int64_t i) {
        return element_in_page(s.shape, pages[static_cast<size_t>(position / 64)], is_key, head,
                               position % 64, i);
      };
      for (int64_t head = 0; head < 2; ++head) {
        for (int64_t position = 0; position < s.length; ++position) {
          for (int64_t i = 0; i < d; ++i) {
            const auto at = static_cast<size_t>(position * 2 * d + head * d + i);
            const bool is_zero = position == 7 && head == 0;
            ASSERT_EQ(element(true, head, position, i), is_zero ? 0.0F : stored.k[at])
                << dtype_name(dtype) << " K of " << position << " at " << i;
            ASSERT_EQ(element(false, head, position, i), stored.v[at])
                << dtype_name(dtype) << " V of " << position << " at " << i;
          }
        }
        if (dtype == DType::f32) {
          for (int64_t position = s.length; position < 128; ++position) {
            EXPECT_TRUE(std::isnan(element(true, head, position, d - 1)));
            EXPECT_TRUE(std::isnan(element(false, head, position, d - 1)));
          }
        }
      }
      for (const std::vector<float>& page : pages) EXPECT_TRUE(std::isnan(page[Sequence::kBefore / 4 - 1]));
    }
  }
}

}  // namespace
}  // namespace nanochat::testing
