#include <algorithm>

#include "every_isa.h"

namespace nanochat::testing {
namespace {

class Attention : public EveryIsa {};
NANOCHAT_ON_EVERY_ISA(Attention);

// One sequence: its q, k, v rows from position 0 on, and its cache.
struct Sequence {
  AttentionShape shape;
  int64_t length;
  std::vector<float> q, k, v;             // [length, heads * head_dim]
  std::vector<std::vector<float>> pages;  // of one layer, which begins after kBefore bytes
  static constexpr int64_t kBefore = 256;

  Sequence(const AttentionShape& of, int64_t n, uint64_t seed)
      : shape(of),
        length(n),
        q(random_floats(seed, n * of.n_head * of.head_dim, 3.0F)),
        k(random_floats(seed + 1, n * of.n_kv_head * of.head_dim, 3.0F)),
        v(random_floats(seed + 2, n * of.n_kv_head * of.head_dim)) {
    shape.layer_offset = kBefore;
    const auto n_floats = static_cast<size_t>(kBefore + shape.kv_layout().layer_bytes()) / 4;
    pages.assign(static_cast<size_t>(page_count(n + 3)), std::vector<float>(n_floats, NAN));
  }
  std::vector<std::byte*> addresses() {
    std::vector<std::byte*> all;
    for (std::vector<float>& page : pages) all.push_back(reinterpret_cast<std::byte*>(page.data()));
    return all;
  }
  int64_t q_width() const { return shape.n_head * shape.head_dim; }
  int64_t kv_width() const { return shape.n_kv_head * shape.head_dim; }
};

struct Part {
  Sequence* sequence;
  int64_t position, n_rows;
};

// Appends and attends the parts as one batch. Returns y of the batch's rows in order.
std::vector<float> feed(Device& device, const std::vector<Part>& parts) {
  const Sequence& any = *parts.front().sequence;
  std::vector<SequenceRows> rows;
  std::vector<std::vector<std::byte*>> addresses;
  addresses.reserve(parts.size());
  std::vector<float> q, k, v;
  int64_t n_rows = 0;
  for (const Part& part : parts) {
    Sequence& s = *part.sequence;
    addresses.push_back(s.addresses());
    rows.push_back({.first_row = n_rows,
                    .n_rows = part.n_rows,
                    .position = part.position,
                    .pages = addresses.back().data(),
                    .previous = nullptr});
    const auto append = [&](std::vector<float>& to, const std::vector<float>& from, int64_t width) {
      to.insert(to.end(), from.begin() + part.position * width,
                from.begin() + (part.position + part.n_rows) * width);
    };
    append(q, s.q, s.q_width());
    append(k, s.k, s.kv_width());
    append(v, s.v, s.kv_width());
    n_rows += part.n_rows;
  }
  std::vector<float> y(q.size(), NAN);
  device.kernels().kv_append(device, rows, any.shape, k.data(), v.data(), any.kv_width());
  device.kernels().attention(device, rows, any.shape, q.data(), any.q_width(), y.data(), any.q_width());
  device.synchronize();
  return y;
}

std::vector<double> oracle_row(const Sequence& s, int64_t position, int64_t head) {
  const int64_t d = s.shape.head_dim, kv = head / (s.shape.n_head / s.shape.n_kv_head);
  const int64_t first = s.shape.window_left < 0 ? 0 : std::max<int64_t>(0, position - s.shape.window_left);
  std::vector<double> weights, y(static_cast<size_t>(d), 0.0);
  double largest = -INFINITY, total = 0;
  for (int64_t key = first; key <= position; ++key) {
    double sum = 0;
    for (int64_t i = 0; i < d; ++i) {
      sum += static_cast<double>(s.q[static_cast<size_t>(position * s.q_width() + head * d + i)]) *
             s.k[static_cast<size_t>(key * s.kv_width() + kv * d + i)];
    }
    weights.push_back(s.shape.scale * sum);
    largest = std::max(largest, weights.back());
  }
  for (double& weight : weights) total += weight = std::exp(weight - largest);
  for (int64_t key = first; key <= position; ++key) {
    for (int64_t i = 0; i < d; ++i) {
      y[static_cast<size_t>(i)] += weights[static_cast<size_t>(key - first)] / total *
                                   s.v[static_cast<size_t>(key * s.kv_width() + kv * d + i)];
    }
  }
  return y;
}

// |v| <= 1 and scores stay below 40, whose float error of about 1e-5 is the relative error of a weight.
void expect_agrees(const Sequence& s, const std::vector<float>& y) {
  for (int64_t position = 0; position < s.length; ++position) {
    for (int64_t head = 0; head < s.shape.n_head; ++head) {
      const std::vector<double> expected = oracle_row(s, position, head);
      for (int64_t i = 0; i < s.shape.head_dim; ++i) {
        ASSERT_NEAR(y[static_cast<size_t>(position * s.q_width() + head * s.shape.head_dim + i)],
                    expected[static_cast<size_t>(i)], 2e-5)
            << "head_dim " << s.shape.head_dim << " window " << s.shape.window_left << " position "
            << position << " head " << head << " at " << i;
      }
    }
  }
}

AttentionShape shape_of(int64_t n_head, int64_t n_kv_head, int64_t head_dim, int64_t window_left) {
  return {n_head, n_kv_head, head_dim, window_left, 1.0F / std::sqrt(static_cast<float>(head_dim))};
}

std::vector<AttentionShape> shapes() {
  return {shape_of(1, 1, 8, -1),    shape_of(3, 1, 20, 5),   shape_of(4, 2, 64, 64),
          shape_of(2, 2, 128, 100), shape_of(6, 2, 128, -1), shape_of(2, 1, 96, 0),
          shape_of(8, 8, 16, 1),    shape_of(2, 1, 130, 70), shape_of(1, 1, 256, -1)};
}

TEST_P(Attention, AWholePromptAgreesWithTheOracle) {
  for (const AttentionShape& shape : shapes()) {
    for (const int64_t length : {1, 2, 63, 64, 65, 200}) {
      Sequence s(shape, length, 7);
      expect_agrees(s, feed(device(), {{&s, 0, length}}));
    }
  }
}

TEST_P(Attention, ARowHasTheSameBitsFedInOnePieceInChunksOrAlone) {
  for (const AttentionShape& shape : shapes()) {
    Sequence whole(shape, 150, 11), chunks(shape, 150, 11), singly(shape, 150, 11);
    const std::vector<float> y = feed(device(), {{&whole, 0, 150}});
    std::vector<float> y_chunks, y_singly;
    for (int64_t position = 0, n = 1; position < 150; position += n, n = n * 2 + 3) {
      n = std::min(n, 150 - position);
      const std::vector<float> part = feed(device(), {{&chunks, position, n}});
      y_chunks.insert(y_chunks.end(), part.begin(), part.end());
    }
    for (int64_t position = 0; position < 150; ++position) {
      const std::vector<float> part = feed(device(), {{&singly, position, 1}});
      y_singly.insert(y_singly.end(), part.begin(), part.end());
    }
    const auto n = static_cast<int64_t>(y.size());
    ASSERT_EQ(y_chunks.size(), y.size());
    EXPECT_TRUE(same_bits(y.data(), y_chunks.data(), n)) << "chunks, head_dim " << shape.head_dim;
    EXPECT_TRUE(same_bits(y.data(), y_singly.data(), n)) << "singly, head_dim " << shape.head_dim;
  }
}

TEST_P(Attention, ARowHasTheSameBitsInABatchOfSequencesAtOtherPositions) {
  for (const AttentionShape& shape : shapes()) {
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

TEST_P(Attention, EveryNumberOfThreadsGivesTheSameBits) {
  const AttentionShape shape = shape_of(6, 2, 64, 90);
  std::vector<float> first;
  for (const int n_threads : {1, 2, 3, 4}) {
    const auto other = make_device(GetParam(), n_threads);
    Sequence s(shape, 333, 51);
    const std::vector<float> y = feed(*other, {{&s, 0, 333}});
    if (first.empty()) first = y;
    EXPECT_TRUE(same_bits(y.data(), first.data(), static_cast<int64_t>(y.size()))) << n_threads << " threads";
  }
}

TEST_P(Attention, ARowThatIsNotANumberStaysOutOfTheRowsBeforeIt) {
  Sequence clean(shape_of(2, 1, 64, -1), 100, 61);
  Sequence broken = clean;
  const int64_t bad = 90;
  std::fill_n(broken.k.begin() + bad * clean.kv_width(), clean.kv_width(), NAN);
  std::fill_n(broken.v.begin() + bad * clean.kv_width(), clean.kv_width(), INFINITY);
  const std::vector<float> expected = feed(device(), {{&clean, 0, 100}});
  const std::vector<float> y = feed(device(), {{&broken, 0, 100}});
  EXPECT_TRUE(same_bits(y.data(), expected.data(), bad * clean.q_width()));
  EXPECT_TRUE(std::isnan(y[static_cast<size_t>(bad * clean.q_width())]));
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

TEST_P(Attention, AppendedRowsLieInThePagesAtTheirPositions) {
  const AttentionShape shape = shape_of(4, 2, 20, -1);
  Sequence s(shape, 70, 81);
  feed(device(), {{&s, 0, 4}});
  feed(device(), {{&s, 4, 66}});
  const KvLayout layout = s.shape.kv_layout();
  for (int64_t head = 0; head < 2; ++head) {
    for (int64_t position = 0; position < page_count(s.length) * kPagePositions; ++position) {
      const float* layer =
          s.pages[static_cast<size_t>(position / kPagePositions)].data() + Sequence::kBefore / 4;
      for (int64_t i = 0; i < 20; ++i) {
        const int64_t key = position % kPagePositions;
        const float k = layer[layout.k_offset(head) / 4 + i * kPagePositions + key];
        const float v = layer[layout.v_offset(head) / 4 + key * 20 + i];
        if (position >= s.length) {
          EXPECT_TRUE(std::isnan(k) && std::isnan(v));
        } else {
          EXPECT_EQ(k, s.k[static_cast<size_t>(position * 40 + head * 20 + i)]);
          EXPECT_EQ(v, s.v[static_cast<size_t>(position * 40 + head * 20 + i)]);
        }
      }
    }
  }
  for (const std::vector<float>& page : s.pages) EXPECT_TRUE(std::isnan(page[Sequence::kBefore / 4 - 1]));
}

}  // namespace
}  // namespace nanochat::testing
