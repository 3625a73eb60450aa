// Two kernels. The first passes over the rows once, a block a chunk of a row: the chunk's sums, and the
// largest of each group of neighbouring lanes. The second, a block a row, has a bound from those: the 256th
// largest of the groups, which 256 numbers reach at least, and few more unless the large ones stand close
// together. It reads only groups that reach the bound, sorts what it finds there, and merges the sums. Where
// too much reaches the bound (ties by the thousand), the exact bound is found digit by digit.
//
// Floor: 4 bytes a logit in the first kernel; in the second the time of its two sorts, a hundred steps.
#include <cmath>

#include <hardware/ptx.h>

#include "device/launch.h"
#include "hardware/numbers.h"
#include "stems.h"

namespace nanochat::cuda {

namespace {

constexpr int kScanThreads = 256, kValues = 8;  // of a thread; they are kScanThreads apart
constexpr int64_t kChunk = kScanThreads * kValues;
constexpr int kPickThreads = 512;
constexpr int64_t kUsualGroups = 1024, kMostGroups = 4096;  // of a row
constexpr unsigned kMostFound = 2048;
constexpr int kMost = TopLogits::kMost;
constexpr int kLoads = 8;  // in flight

// Of a chunk of a row. largest is +infinity if there is a NaN too.
struct ChunkFacts {
  float largest, sum, scaled_sum;
};

// How the rows of a call are cut.
struct Cut {
  int64_t n, n_chunks;
  int64_t n_groups;  // of a row; 0: too many
  int lane_bits;     // a group: kValues of each of so many neighbouring threads
};

Cut cut_rows(int64_t n) {
  Cut cut{n, (n + kChunk - 1) / kChunk, 0, 0};
  const auto n_groups = [&] { return cut.n_chunks * (kScanThreads >> cut.lane_bits); };
  while (n_groups() > kUsualGroups && (1 << cut.lane_bits) < kWarp) ++cut.lane_bits;
  if (n_groups() <= kMostGroups) cut.n_groups = n_groups();
  return cut;
}

// In the order of the numbers; both zeros are one. 0: -infinity, which is never chosen.
__device__ __forceinline__ uint32_t key_of(float value) {
  if (value == -INFINITY) return 0;
  const uint32_t bits = __float_as_uint(value + 0.0F);  // -0 + 0 is 0
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

// In the order of preference: no two are equal.
__device__ __forceinline__ uint64_t rank_of(uint32_t key, int64_t token) {
  return static_cast<uint64_t>(key) << 32 | (0xffffffffU - static_cast<uint32_t>(token));
}

// All threads of the block; `place` as for block_sum().
__device__ __forceinline__ float block_max(float value, float* place) {
  value = warp_max(value);
  if (threadIdx.x % kWarp == 0) place[threadIdx.x / kWarp] = value;
  __syncthreads();
  float largest = place[0];
  for (unsigned warp = 1; warp < blockDim.x / kWarp; ++warp) largest = fmaxf(largest, place[warp]);
  return largest;
}

__global__ void scan_rows_kernel(const float* logits, const float* scales, Cut cut, ChunkFacts* chunks,
                                 uint32_t* group_keys) {
  __shared__ float max_place[kWarp], sum_place[kWarp], scaled_place[kWarp];
  wait_for_earlier_kernels();
  let_next_kernel_start();
  const int64_t row = blockIdx.x / cut.n_chunks, chunk = blockIdx.x % cut.n_chunks;
  const float* const x = logits + row * cut.n;
  const int thread = static_cast<int>(threadIdx.x);
  float values[kValues];
  float largest = -INFINITY;
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    const int64_t token = chunk * kChunk + i * kScanThreads + thread;
    values[i] = token < cut.n ? x[token] : -INFINITY;
  }
#pragma unroll
  for (int i = 0; i < kValues; ++i) largest = fmaxf(largest, values[i] < INFINITY ? values[i] : INFINITY);
  if (cut.n_groups > 0) {
    uint32_t key = key_of(largest);
    for (int distance = 1; distance < 1 << cut.lane_bits; distance *= 2) {
      key = max(key, __shfl_xor_sync(kWholeWarp, key, distance));
    }
    if (thread % (1 << cut.lane_bits) == 0) {
      group_keys[row * cut.n_groups + ((chunk * kScanThreads + thread) >> cut.lane_bits)] = key;
    }
  }
  largest = block_max(largest, max_place);
  ChunkFacts facts{largest, 0.0F, 0.0F};
  if (largest > -INFINITY && largest < INFINITY) {
    const float scale = scales[row];
    float sum = 0.0F, scaled_sum = 0.0F;
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
      sum += expf(values[i] - largest);
      scaled_sum += expf((values[i] - largest) * scale);
    }
    facts.sum = block_sum(sum, sum_place);
    facts.scaled_sum = block_sum(scaled_sum, scaled_place);
  }
  if (thread == 0) chunks[row * cut.n_chunks + chunk] = facts;
}

// The largest first. `width` is a power of two. A warp's pairs lie in 64 neighbours while their distance is
// 32 at most: then it waits for nobody else.
template <class T>
__device__ void sort_shared(T* values, int width) {
  for (int size = 2; size <= width; size *= 2) {
    for (int stride = size / 2; stride > 0; stride /= 2) {
      for (int pair = static_cast<int>(threadIdx.x); pair < width / 2; pair += kPickThreads) {
        const int low = 2 * pair - (pair & (stride - 1)), high = low + stride;
        const T a = values[low], b = values[high];
        if ((a < b) == ((low & size) == 0)) {
          values[low] = b;
          values[high] = a;
        }
      }
      const int next = stride > 1 ? stride / 2 : size;
      if (max(stride, next) > kWarp || next == width) {
        __syncthreads();
      } else {
        __syncwarp();
      }
    }
  }
}

struct Sums {
  double plain, scaled;
};

// Of all threads, those from `width` on having zeros; in the order of a tree. `place` has kPickThreads.
__device__ Sums add_up(Sums own, unsigned width, Sums* place) {
  place[threadIdx.x] = own;
  __syncthreads();
  for (unsigned half = width / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) {
      place[threadIdx.x].plain += place[threadIdx.x + half].plain;
      place[threadIdx.x].scaled += place[threadIdx.x + half].scaled;
    }
    __syncthreads();
  }
  return place[0];
}

// What the block has found, in no order.
struct Found {
  uint64_t* ranks;
  unsigned* n;
  __device__ void add(uint64_t rank) const {
    const unsigned place = atomicAdd(n, 1U);
    if (place < kMostFound) ranks[place] = rank;
  }
};

// Finds what reaches the kMost-th largest of the groups. `keys` is room for kMostGroups.
__device__ void find_in_groups(const float* x, const Cut& cut, const uint32_t* group_keys, uint32_t* keys,
                               unsigned* n_listed, const Found& found) {
  const int thread = static_cast<int>(threadIdx.x);
  int width = kMost;
  while (width < cut.n_groups) width *= 2;
  for (int i = thread; i < width; i += kPickThreads) keys[i] = i < cut.n_groups ? group_keys[i] : 0U;
  if (thread == 0) *n_listed = 0;
  __syncthreads();
  sort_shared(keys, width);
  const uint32_t bound = max(keys[kMost - 1], 1U);
  __syncthreads();
  uint32_t* const listed = keys;
  for (int i = thread; i < cut.n_groups; i += kPickThreads) {
    if (group_keys[i] >= bound) listed[atomicAdd(n_listed, 1U)] = static_cast<uint32_t>(i);
  }
  __syncthreads();
  const int lanes = 1 << cut.lane_bits, group_bits = cut.lane_bits + 3;
  static_assert(kValues == 1 << 3);
  const int n_values = static_cast<int>(*n_listed) << group_bits;
  for (int begin = thread; begin < n_values; begin += kPickThreads * kLoads) {
    float values[kLoads];
    int64_t tokens[kLoads];
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int at = begin + i * kPickThreads;
      tokens[i] = cut.n;
      if (at < n_values) {
        const int64_t first = static_cast<int64_t>(listed[at >> group_bits]) << cut.lane_bits;
        const int within = at & ((1 << group_bits) - 1);
        tokens[i] = first / kScanThreads * kChunk + (within >> cut.lane_bits) * kScanThreads +
                    first % kScanThreads + (within & (lanes - 1));
      }
      values[i] = tokens[i] < cut.n ? x[tokens[i]] : -INFINITY;
    }
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const uint32_t key = key_of(values[i]);
      if (key >= bound) found.add(rank_of(key, tokens[i]));
    }
  }
  __syncthreads();
}

struct Digits {
  unsigned counts[256];
  unsigned digit, n_wanted;
};

// Finds exactly the kMost best, whatever the row: eight passes for the bound, one to collect.
__device__ void find_by_digits(const float* x, int64_t n, Digits& digits, const Found& found) {
  uint64_t bound = 0;
  if (threadIdx.x == 0) digits.n_wanted = kMost;
  for (int shift = 56; shift >= 0; shift -= 8) {
    for (unsigned i = threadIdx.x; i < 256; i += kPickThreads) digits.counts[i] = 0;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < n; i += kPickThreads) {
      const uint32_t key = key_of(x[i]);
      const uint64_t rank = rank_of(key, i);
      if (key != 0 && (rank >> shift >> 8) == (bound >> shift >> 8)) {
        atomicAdd(&digits.counts[(rank >> shift) & 255U], 1U);
      }
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      unsigned digit = 255;
      for (; digit > 0 && digits.counts[digit] < digits.n_wanted; --digit) {
        digits.n_wanted -= digits.counts[digit];
      }
      digits.digit = digit;
    }
    __syncthreads();
    bound |= static_cast<uint64_t>(digits.digit) << shift;
  }
  if (threadIdx.x == 0) *found.n = 0;
  __syncthreads();
  for (int64_t i = threadIdx.x; i < n; i += kPickThreads) {
    const uint32_t key = key_of(x[i]);
    if (key != 0 && rank_of(key, i) >= bound) found.add(rank_of(key, i));
  }
  __syncthreads();
}

__global__ void pick_top_kernel(const float* logits, const float* scales, Cut cut, const ChunkFacts* chunks,
                                const uint32_t* group_keys, TopLogits* top) {
  __shared__ uint32_t keys[kMostGroups];
  __shared__ uint64_t ranks[kMostFound];
  __shared__ Sums sums[kPickThreads];
  __shared__ float place[kWarp];
  __shared__ Digits digits;
  __shared__ unsigned n_listed, n_found;
  wait_for_earlier_kernels();
  let_next_kernel_start();
  const int64_t row = blockIdx.x;
  const float* const x = logits + row * cut.n;
  const ChunkFacts* const facts = chunks + row * cut.n_chunks;
  TopLogits& result = top[row];

  float largest = -INFINITY;
  for (int64_t i = threadIdx.x; i < cut.n_chunks; i += kPickThreads) {
    largest = fmaxf(largest, facts[i].largest);
  }
  largest = block_max(largest, place);
  if (threadIdx.x == 0) {
    result.scale = scales[row];
    result.n_logits = static_cast<int32_t>(cut.n);
    result.n = 0;
    n_found = 0;
  }
  __syncthreads();
  if (!(largest > -INFINITY && largest < INFINITY)) return;

  const double scale = static_cast<double>(scales[row]);
  Sums own{0.0, 0.0};
  for (int64_t i = threadIdx.x; i < cut.n_chunks; i += kPickThreads) {
    if (facts[i].largest == -INFINITY) continue;
    const double below = static_cast<double>(facts[i].largest) - static_cast<double>(largest);
    own.plain += exp(below) * static_cast<double>(facts[i].sum);
    own.scaled += exp(below * scale) * static_cast<double>(facts[i].scaled_sum);
  }
  unsigned n_adding = 1;
  while (n_adding < kPickThreads && n_adding < cut.n_chunks) n_adding *= 2;
  const Sums all = add_up(own, n_adding, sums);

  const Found found{ranks, &n_found};
  if (cut.n_groups > 0) {
    find_in_groups(x, cut, group_keys + row * cut.n_groups, keys, &n_listed, found);
  }
  if (cut.n_groups == 0 || n_found > kMostFound) find_by_digits(x, cut.n, digits, found);

  const int n = static_cast<int>(n_found);
  int width = 2;
  while (width < n) width *= 2;
  for (int i = n + static_cast<int>(threadIdx.x); i < width; i += kPickThreads) ranks[i] = 0;
  __syncthreads();
  sort_shared(ranks, width);
  const int n_best = min(n, kMost);
  for (int i = static_cast<int>(threadIdx.x); i < n_best; i += kPickThreads) {
    const uint32_t token = 0xffffffffU - static_cast<uint32_t>(ranks[i]);
    result.tokens[i] = static_cast<int32_t>(token);
    result.logits[i] = x[token];
  }
  if (threadIdx.x == 0) {
    result.n = n_best;
    result.sum = all.plain;
    result.scaled_sum = all.scaled;
  }
}

const KernelList kKernels{kernel_handle(scan_rows_kernel), kernel_handle(pick_top_kernel)};

}  // namespace

void select_top(Device& device, const float* x, int64_t n, std::span<const float> scales,
                std::span<TopLogits> top) {
  if (top.empty()) return;
  CudaDevice& gpu = cuda_device(device);
  const Cut cut = cut_rows(n);
  const auto n_rows = std::ssize(top);
  const auto n_chunks = static_cast<size_t>(n_rows * cut.n_chunks);
  const Scratch scratch(gpu,
                        top.size_bytes() + n_chunks * sizeof(ChunkFacts) +
                            static_cast<size_t>(n_rows * cut.n_groups) * sizeof(uint32_t),
                        "best logits");
  auto* const results = scratch.as<TopLogits>();
  auto* const chunks = reinterpret_cast<ChunkFacts*>(results + n_rows);
  auto* const group_keys = reinterpret_cast<uint32_t*>(chunks + n_chunks);
  const float* const row_scales = gpu.stage(scales);
  if (n_chunks > 0) {
    launch(gpu, {dim3(static_cast<unsigned>(n_chunks)), kScanThreads}, scan_rows_kernel, x, row_scales, cut,
           chunks, group_keys);
  }
  launch(gpu, {dim3(static_cast<unsigned>(n_rows)), kPickThreads}, pick_top_kernel, x, row_scales, cut,
         chunks, group_keys, results);
  device.copy_to_host(top.data(), results, top.size_bytes());
}

}  // namespace nanochat::cuda
