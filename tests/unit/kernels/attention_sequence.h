// Sequences with their pages, and what attention must make of them in double precision.
#pragma once

#include <algorithm>

#include "every_device.h"

namespace nanochat::testing {

// Pages of the device that asks for them first. A copy has none yet.
struct PageMemory {
  std::vector<DeviceArray<float>> pages;
  PageMemory() = default;
  PageMemory(const PageMemory&) {}
  PageMemory& operator=(const PageMemory&) = delete;
};

// One sequence: its q, k, v rows from position 0 on, and its cache.
struct Sequence {
  AttentionShape shape;  // its bias is host memory, and goes to the device with each call
  int64_t length;
  std::vector<float> q, k, v;  // [length, heads * head_dim]
  PageMemory pages;            // of one layer, which begins after kBefore bytes
  static constexpr int64_t kBefore = 256;

  Sequence(const AttentionShape& of, int64_t n, uint64_t seed)
      : shape(of),
        length(n),
        q(random_floats(seed, n * of.n_head * of.head_dim, 3.0F)),
        k(random_floats(seed + 1, n * of.n_kv_head * of.head_dim, 3.0F)),
        v(random_floats(seed + 2, n * of.n_kv_head * of.head_dim)) {
    shape.layer_offset = kBefore;
  }
  std::vector<std::byte*> addresses(Device& device) {
    const auto n_floats = static_cast<size_t>(kBefore + shape.kv_layout().layer_bytes()) / 4;
    while (std::ssize(pages.pages) < page_count(length + 3)) {
      std::vector<float> page(n_floats);
      std::memset(page.data(), 0xff, page.size() * 4);  // no numbers
      pages.pages.emplace_back(device, std::move(page));
    }
    std::vector<std::byte*> all;
    for (DeviceArray<float>& page : pages.pages) all.push_back(reinterpret_cast<std::byte*>(page.data()));
    return all;
  }
  int64_t n_bias() const { return shape.bias == nullptr ? 0 : shape.n_head * (2 * shape.bias_reach + 1); }
  int64_t q_width() const { return shape.n_head * shape.head_dim; }
  int64_t kv_width() const { return shape.n_kv_head * shape.head_dim; }
};

struct Part {
  Sequence* sequence;
  int64_t position, n_rows;
  int64_t n_keys = 0;
};

enum class Pages { append, have };

// Appends and attends the parts as one batch, or attends alone. Returns y of the batch's rows in order.
inline std::vector<float> feed(Device& device, const std::vector<Part>& parts, Pages pages = Pages::append) {
  const Sequence& any = *parts.front().sequence;
  std::vector<SequenceRows> rows;
  std::vector<std::vector<std::byte*>> addresses;
  addresses.reserve(parts.size());
  std::vector<float> q, k, v;
  int64_t n_rows = 0;
  for (const Part& part : parts) {
    Sequence& s = *part.sequence;
    addresses.push_back(s.addresses(device));
    rows.push_back({.first_row = n_rows,
                    .n_rows = part.n_rows,
                    .position = part.position,
                    .pages = addresses.back().data(),
                    .previous = nullptr,
                    .n_keys = part.n_keys});
    const auto append = [&](std::vector<float>& to, const std::vector<float>& from, int64_t width) {
      to.insert(to.end(), from.begin() + part.position * width,
                from.begin() + (part.position + part.n_rows) * width);
    };
    append(q, s.q, s.q_width());
    append(k, s.k, s.kv_width());
    append(v, s.v, s.kv_width());
    n_rows += part.n_rows;
  }
  const DeviceArray<float> q_rows(device, q), bias(device, {any.shape.bias, any.shape.bias + any.n_bias()});
  DeviceArray<float> y(device, q_rows.size(), NAN);
  AttentionShape shape = any.shape;
  if (shape.bias != nullptr) shape.bias = bias.data();
  if (pages == Pages::append) {
    const DeviceArray<float> k_rows(device, k), v_rows(device, v);
    device.kernels().kv_append(device, rows, shape, k_rows.data(), v_rows.data(), any.kv_width());
    device.synchronize();
  }
  device.kernels().attention(device, rows, shape, q_rows.data(), any.q_width(), y.data(), any.q_width());
  return y.to_host();
}

// Rows begin..end-1 into the pages, without attention.
inline void append(Device& device, Sequence& s, int64_t begin, int64_t end) {
  if (begin == end) return;
  const std::vector<std::byte*> addresses = s.addresses(device);
  const SequenceRows rows{0, end - begin, begin, addresses.data(), nullptr};
  const auto rows_of = [&](const std::vector<float>& all) {
    return DeviceArray<float>(device, {all.begin() + begin * s.kv_width(), all.begin() + end * s.kv_width()});
  };
  const DeviceArray<float> k = rows_of(s.k), v = rows_of(s.v);
  device.kernels().kv_append(device, {&rows, 1}, s.shape, k.data(), v.data(), s.kv_width());
  device.synchronize();
}

// Whether a query sees a key, by the words of tensor/kernels.h.
inline bool sees(const AttentionShape& shape, int64_t query, int64_t key) {
  if (key < shape.global_keys) return true;
  const bool left = shape.window_left < 0 || key >= query - shape.window_left;
  const bool right = shape.window_right < 0 || key <= query + shape.window_right;
  return left && right;
}

// Of a sequence whose first n_keys keys are in the pages.
inline std::vector<double> oracle_row(const Sequence& s, int64_t position, int64_t head, int64_t n_keys) {
  const int64_t d = s.shape.head_dim, kv = head / (s.shape.n_head / s.shape.n_kv_head);
  std::vector<double> weights, y(static_cast<size_t>(d), 0.0);
  double largest = -INFINITY, total = 0;
  for (int64_t key = 0; key < n_keys; ++key) {
    if (!sees(s.shape, position, key)) {
      weights.push_back(-INFINITY);
      continue;
    }
    double sum = 0;
    for (int64_t i = 0; i < d; ++i) {
      sum += static_cast<double>(s.q[static_cast<size_t>(position * s.q_width() + head * d + i)]) *
             s.k[static_cast<size_t>(key * s.kv_width() + kv * d + i)];
    }
    sum *= s.shape.scale;
    if (s.shape.bias != nullptr) {
      const int64_t reach = s.shape.bias_reach;
      const int64_t distance = key - position < -reach ? -reach : std::min(key - position, reach);
      sum += s.shape.bias[head * (2 * reach + 1) + reach + distance];
    }
    weights.push_back(sum);
    largest = std::max(largest, sum);
  }
  for (double& weight : weights) total += weight = std::exp(weight - largest);
  for (int64_t key = 0; key < n_keys; ++key) {
    if (!sees(s.shape, position, key)) continue;
    for (int64_t i = 0; i < d; ++i) {
      y[static_cast<size_t>(i)] += weights[static_cast<size_t>(key)] / total *
                                   s.v[static_cast<size_t>(key * s.kv_width() + kv * d + i)];
    }
  }
  return y;
}

// |v| <= 1 and scores stay below 40, whose float error of about 1e-5 is the relative error of a weight.
inline void expect_agrees(const Sequence& s, const std::vector<float>& y, double tolerance = 2e-5) {
  for (int64_t position = 0; position < s.length; ++position) {
    for (int64_t head = 0; head < s.shape.n_head; ++head) {
      const std::vector<double> expected = oracle_row(s, position, head, s.length);
      for (int64_t i = 0; i < s.shape.head_dim; ++i) {
        ASSERT_NEAR(y[static_cast<size_t>(position * s.q_width() + head * s.shape.head_dim + i)],
                    expected[static_cast<size_t>(i)], tolerance)
            << "head_dim " << s.shape.head_dim << " windows " << s.shape.window_left << " and "
            << s.shape.window_right << " globals " << s.shape.global_keys << " length " << s.length
            << " position " << position << " head " << head << " at " << i;
      }
    }
  }
}

inline AttentionShape shape_of(int64_t n_head, int64_t n_kv_head, int64_t head_dim, int64_t window_left) {
  return {n_head, n_kv_head, head_dim, window_left, 1.0F / std::sqrt(static_cast<float>(head_dim))};
}

// What a page gives back of a row of one head.
inline std::vector<float> stored_row(DType dtype, const float* row, int64_t n) {
  std::vector<float> values(row, row + n);
  float largest = 0.0F;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  const float scale = largest / 127.0F;
  for (float& value : values) {
    if (dtype == DType::bf16) value = rounded_to(DType::bf16, value);
    if (dtype == DType::i8) value = scale * std::nearbyint(value * (1.0F / scale));
  }
  return values;
}

// The sequence with keys and values as its pages give them back.
inline Sequence as_stored(const Sequence& s) {
  Sequence stored = s;
  const int64_t d = s.shape.head_dim;
  for (std::vector<float>* rows : {&stored.k, &stored.v}) {
    for (int64_t at = 0; at < std::ssize(*rows); at += d) {
      const std::vector<float> row = stored_row(s.shape.kv_dtype, rows->data() + at, d);
      std::copy(row.begin(), row.end(), rows->begin() + at);
    }
  }
  return stored;
}

inline constexpr DType kPageTypes[] = {DType::f32, DType::bf16, DType::i8};

inline AttentionShape in_pages_of(DType dtype, AttentionShape shape) {
  shape.kv_dtype = dtype;
  return shape;
}

}  // namespace nanochat::testing
