// Rows of keys and values into the pages of their sequences. Floor: 4 bytes read and 1 to 4 written for each
// value. A block takes the keys or the values of one head for the rows that go into one page; threads follow
// each other in the page, so that what is written is whole lines, and the rows are read by 16 bytes or from
// the first-level cache. Int8 first finds each row's scale, a warp a row.
#include <hardware/ptx.h>

#include "attention_plan.h"
#include "device/launch.h"
#include "hardware/numbers.h"
#include "stems.h"

namespace nanochat::cuda {

namespace {

constexpr int kThreads = 256;

struct AppendCall {
  const PlannedAppend* appends;
  const float* k;
  const float* v;
  int64_t ld;
  int64_t k_at, v_at, k_scale_at, v_scale_at;
  int64_t k_head_bytes, v_head_bytes;
  int64_t head_dim;
};

// The rows of one head: from(key, i), key counted from the first that is appended. Zeros past head_dim.
struct HeadRows {
  const float* rows;
  int64_t ld;
  int head_dim;
  __device__ __forceinline__ float at(int key, int i) const {
    return i < head_dim ? rows[key * ld + i] : 0.0F;
  }
};

// 0 for a row below 1e-30; not a number if a value is not finite.
__device__ __forceinline__ float scale_of_row(const HeadRows& head, int key) {
  float largest = 0.0F;
  bool finite = true;
  for (int i = static_cast<int>(threadIdx.x) % kWarp; i < head.head_dim; i += kWarp) {
    const float value = head.at(key, i);
    finite = finite && is_finite_number(value);
    largest = fmaxf(largest, fabsf(value));
  }
  if (__any_sync(kWholeWarp, !finite)) return __uint_as_float(0x7fc00000U);
  largest = warp_max(largest);
  return largest < 1e-30F ? 0.0F : __fdiv_rn(largest, 127.0F);
}

__device__ __forceinline__ uint32_t int8_of(float value, float inverse) {
  const float rounded = inverse > 0.0F ? rintf(value * inverse) : 0.0F;
  return static_cast<uint32_t>(static_cast<int32_t>(rounded)) & 0xffU;
}

// Two values that share a word of a page, as its type stores them.
template <DType kType>
__device__ __forceinline__ uint32_t stored_pair(float low, float high, float low_inverse,
                                                float high_inverse) {
  if constexpr (kType == DType::bf16) {
    return bf16_pair(low, high);
  } else {
    return int8_of(low, low_inverse) | (int8_of(high, high_inverse) << 8);
  }
}
template <DType kType>
struct PairWord {
  using Half = uint16_t;
  using Word = uint32_t;
};
template <>
struct PairWord<DType::i8> {
  using Half = uint8_t;
  using Word = uint16_t;
};

// Keys: words of neighbours in head_dim, 64 keys in a row. A thread takes one key, and steps through
// head_dim.
template <DType kType>
__device__ __forceinline__ void store_keys(const HeadRows& head, int first_key, int n_keys,
                                           const float* inverses, std::byte* page) {
  const int n_words = kType == DType::f32 ? head.head_dim : (head.head_dim + 1) / 2;
  for (int i = static_cast<int>(threadIdx.x); i < n_words * n_keys; i += kThreads) {
    const int key = i % n_keys, word = i / n_keys;
    const int64_t to = static_cast<int64_t>(word) * kPageKeys + first_key + key;
    if constexpr (kType == DType::f32) {
      reinterpret_cast<float*>(page)[to] = head.at(key, word);
    } else {
      const float inverse = inverses[key];
      const uint32_t pair =
          stored_pair<kType>(head.at(key, 2 * word), head.at(key, 2 * word + 1), inverse, inverse);
      using Word = typename PairWord<kType>::Word;
      reinterpret_cast<Word*>(page)[to] = static_cast<Word>(pair);
    }
  }
}

// Values: words of neighbouring keys, head_dim of them in a row. Of a word only the keys that are appended.
template <DType kType>
__device__ __forceinline__ void store_values(const HeadRows& head, int first_key, int n_keys,
                                             const float* inverses, std::byte* page) {
  using Half = typename PairWord<kType>::Half;
  using Word = typename PairWord<kType>::Word;
  const int first_pair = first_key / 2, n_pairs = (first_key + n_keys - 1) / 2 - first_pair + 1;
  for (int i = static_cast<int>(threadIdx.x); i < n_pairs * head.head_dim; i += kThreads) {
    const int at = i % head.head_dim, pair = first_pair + i / head.head_dim, low_key = 2 * pair - first_key;
    const bool has_low = low_key >= 0, has_high = low_key + 1 < n_keys;
    const float low = has_low ? head.at(low_key, at) : 0.0F,
                high = has_high ? head.at(low_key + 1, at) : 0.0F;
    const uint32_t word = stored_pair<kType>(low, high, has_low ? inverses[low_key] : 0.0F,
                                             has_high ? inverses[low_key + 1] : 0.0F);
    const int64_t to = static_cast<int64_t>(pair) * head.head_dim + at;
    if (has_low && has_high) {
      reinterpret_cast<Word*>(page)[to] = static_cast<Word>(word);
    } else {
      const unsigned bits = 8 * sizeof(Half);
      reinterpret_cast<Half*>(page)[2 * to + (has_low ? 0 : 1)] =
          static_cast<Half>(has_low ? word : word >> bits);
    }
  }
}

template <DType kType>
__global__ __launch_bounds__(kThreads) void kv_append_kernel(const AppendCall call) {
  __shared__ float inverses[kPagePositions];
  wait_for_earlier_kernels();
  let_next_kernel_start();
  const PlannedAppend append = call.appends[blockIdx.x];
  const int64_t head = blockIdx.y;
  const bool is_key = blockIdx.z == 0;
  const HeadRows rows{(is_key ? call.k : call.v) + append.first_row * call.ld + head * call.head_dim, call.ld,
                      static_cast<int>(call.head_dim)};
  if constexpr (kType == DType::i8) {
    auto* const scales =
        reinterpret_cast<float*>(append.page + (is_key ? call.k_scale_at : call.v_scale_at)) +
        head * kPageKeys + append.first_key;
    for (int key = static_cast<int>(threadIdx.x) / kWarp; key < append.n_keys; key += kThreads / kWarp) {
      const float scale = scale_of_row(rows, key);
      if (threadIdx.x % kWarp != 0) continue;
      scales[key] = scale;
      inverses[key] = scale > 0.0F ? __fdiv_rn(1.0F, scale) : 0.0F;
    }
    __syncthreads();
  }
  std::byte* const page =
      append.page + (is_key ? call.k_at + head * call.k_head_bytes : call.v_at + head * call.v_head_bytes);
  if (is_key) {
    store_keys<kType>(rows, append.first_key, append.n_keys, inverses, page);
  } else if constexpr (kType == DType::f32) {
    for (int i = static_cast<int>(threadIdx.x); i < append.n_keys * rows.head_dim; i += kThreads) {
      const int key = i / rows.head_dim, at = i % rows.head_dim;
      reinterpret_cast<float*>(page)[static_cast<int64_t>(append.first_key + key) * rows.head_dim + at] =
          rows.at(key, at);
    }
  } else {
    store_values<kType>(rows, append.first_key, append.n_keys, inverses, page);
  }
}

const KernelList kKernels{kernel_handle(kv_append_kernel<DType::f32>),
                          kernel_handle(kv_append_kernel<DType::bf16>),
                          kernel_handle(kv_append_kernel<DType::i8>)};

}  // namespace

void kv_append(Device& any, std::span<const SequenceRows> sequences, const AttentionShape& shape,
               const float* k, const float* v, int64_t ld) {
  const std::vector<PlannedAppend> appends = plan_appends(sequences);
  if (appends.empty() || shape.n_kv_head <= 0) return;
  CudaDevice& device = cuda_device(any);
  const KvLayout layout = shape.kv_layout();
  const AppendCall call{device.stage(std::span<const PlannedAppend>(appends)),
                        k,
                        v,
                        ld,
                        shape.layer_offset + layout.k_offset(0),
                        shape.layer_offset + layout.v_offset(0),
                        shape.layer_offset + layout.k_scale_offset(0),
                        shape.layer_offset + layout.v_scale_offset(0),
                        layout.k_head_bytes(),
                        layout.v_head_bytes(),
                        shape.head_dim};
  const LaunchShape grid{
      dim3(static_cast<unsigned>(appends.size()), static_cast<unsigned>(shape.n_kv_head), 2), kThreads};
  if (shape.kv_dtype == DType::f32) return launch(device, grid, kv_append_kernel<DType::f32>, call);
  if (shape.kv_dtype == DType::bf16) return launch(device, grid, kv_append_kernel<DType::bf16>, call);
  launch(device, grid, kv_append_kernel<DType::i8>, call);
}

}  // namespace nanochat::cuda
