// Half-split rotation, in place. Floor: 8 bytes a value, and the row's angles; a thread turns four pairs
// where everything is aligned for that, else one.
#include <hardware/ptx.h>

#include "device/launch.h"
#include "hardware/grid.h"
#include "stems.h"

namespace nanochat::cuda {

namespace {

template <int kPairs>
struct Pairs {
  float value[kPairs];

  __device__ __forceinline__ explicit Pairs(const float* from) {
    if constexpr (kPairs == 4) {
      const float4 v = *reinterpret_cast<const float4*>(from);
      value[0] = v.x, value[1] = v.y, value[2] = v.z, value[3] = v.w;
    } else {
      value[0] = *from;
    }
  }
  __device__ __forceinline__ void store(float* to) const {
    if constexpr (kPairs == 4) {
      *reinterpret_cast<float4*>(to) = make_float4(value[0], value[1], value[2], value[3]);
    } else {
      *to = value[0];
    }
  }
};

// A row a block in x; the row's pairs are spread over y and the threads.
template <int kPairs>
__global__ void rope_kernel(float* x, int64_t ldx, const int32_t* positions, int n_heads, int half,
                            const float* cos, const float* sin) {
  wait_for_earlier_kernels();
  let_next_kernel_start();
  float* const row = x + static_cast<int64_t>(blockIdx.x) * ldx;
  const int64_t angles = static_cast<int64_t>(positions[blockIdx.x]) * half;
  const int per_head = half / kPairs, step = static_cast<int>(gridDim.y * blockDim.x);
  for (int i = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x); i < n_heads * per_head; i += step) {
    const int at = i % per_head * kPairs;
    float* const first = row + static_cast<int64_t>(i / per_head) * 2 * half + at;
    Pairs<kPairs> a(first), b(first + half);
    const Pairs<kPairs> c(cos + angles + at), s(sin + angles + at);
#pragma unroll
    for (int p = 0; p < kPairs; ++p) {
      const float x1 = a.value[p], x2 = b.value[p];
      a.value[p] = x1 * c.value[p] + x2 * s.value[p];
      b.value[p] = x2 * c.value[p] - x1 * s.value[p];
    }
    a.store(first);
    b.store(first + half);
  }
}

const KernelList kKernels{kernel_handle(rope_kernel<1>), kernel_handle(rope_kernel<4>)};

bool is_aligned(const float* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace

void rope(Device& any, float* x, int64_t ldx, std::span<const int32_t> positions, int64_t n_heads,
          int64_t head_dim, const float* cos, const float* sin) {
  const int64_t half = head_dim / 2;
  if (positions.empty() || n_heads * half <= 0) return;
  CudaDevice& device = cuda_device(any);
  const bool by_fours = half % 4 == 0 && head_dim % 4 == 0 && ldx % 4 == 0 && is_aligned(x) &&
                        is_aligned(cos) && is_aligned(sin);
  const int64_t n_units = n_heads * half / (by_fours ? 4 : 1);
  // Few rows: a thread a unit; many: blocks that do more each.
  const int64_t n_blocks = std::clamp<int64_t>(n_units / kBlockThreads, 1, positions.size() < 64 ? 64 : 2);
  const LaunchShape shape{dim3(static_cast<unsigned>(positions.size()), static_cast<unsigned>(n_blocks)),
                          kBlockThreads};
  launch(device, shape, by_fours ? rope_kernel<4> : rope_kernel<1>, x, ldx, device.stage(positions),
         static_cast<int>(n_heads), static_cast<int>(half), cos, sin);
}

}  // namespace nanochat::cuda
