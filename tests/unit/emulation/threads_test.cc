// How threads of a kernel see themselves and meet each other.
#include <numeric>

#include "device_array.h"

namespace nanochat::emulation {
namespace {

__global__ void write_places(int* places) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const unsigned n_threads = blockDim.x * blockDim.y * blockDim.z;
  places[block * n_threads + thread] = static_cast<int>(block * 1000 + thread);
}

TEST(EmulatedThreads, KnowTheirPlaceInTheGrid) {
  const DeviceArray<int> places(2 * 3 * 4 * 30);
  ASSERT_EQ(launch({dim3(2, 3, 4), dim3(5, 3, 2)}, write_places, places.get()), cudaSuccess);
  const std::vector<int> got = places.read();
  for (int block = 0; block < 24; ++block) {
    for (int thread = 0; thread < 30; ++thread) {
      ASSERT_EQ(got[static_cast<size_t>(block * 30 + thread)], block * 1000 + thread);
    }
  }
}

// The sum of a block by halves through shared memory.
__global__ void sum_blocks(const int* values, int* sums) {
  __shared__ int parts[256];
  parts[threadIdx.x] = values[blockIdx.x * 256 + threadIdx.x];
  for (unsigned half = 128; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
  }
  if (threadIdx.x == 0) sums[blockIdx.x] = parts[0];
}

TEST(EmulatedThreads, WaitForTheirBlockAtABarrier) {
  std::vector<int> values(1024);
  std::iota(values.begin(), values.end(), 0);
  const DeviceArray<int> device_values(values), sums(4);
  for (int order = 0; order < 4; ++order) {
    ASSERT_EQ(launch({dim3(4), dim3(256)}, sum_blocks, device_values.get(), sums.get()), cudaSuccess);
    EXPECT_EQ(sums.read(), (std::vector<int>{32640, 98176, 163712, 229248}));
  }
}

// Forgets the barrier between writing and reading.
__global__ void read_neighbours(int* values) {
  __shared__ int places[64];
  places[threadIdx.x] = static_cast<int>(threadIdx.x);
  values[threadIdx.x] = places[threadIdx.x ^ 32U];
}

TEST(EmulatedThreads, ShowThatABarrierIsMissing) {
  const DeviceArray<int> values(64);
  std::vector<int> expected(64);
  for (int i = 0; i < 64; ++i) expected[static_cast<size_t>(i)] = i ^ 32;
  for (int order = 0; order < 2; ++order) {
    ASSERT_EQ(launch({dim3(1), dim3(64)}, read_neighbours, values.get()), cudaSuccess);
    EXPECT_NE(values.read(), expected);
  }
}

__global__ void shuffle_all(int* results) {
  const int lane = static_cast<int>(threadIdx.x);
  int* const own = results + lane * 6;
  own[0] = __shfl_sync(0xffffffffU, lane, 5);
  own[1] = __shfl_xor_sync(0xffffffffU, lane, 3);
  own[2] = __shfl_up_sync(0xffffffffU, lane, 2);
  own[3] = __shfl_down_sync(0xffffffffU, lane, 2);
  own[4] = __shfl_sync(0xffffffffU, lane, 9, 8);
  own[5] = __shfl_down_sync(0xffffffffU, lane, 3, 8);
}

TEST(EmulatedThreads, ExchangeValuesWithinAWarp) {
  const DeviceArray<int> results(32 * 6);
  ASSERT_EQ(launch({dim3(1), dim3(32)}, shuffle_all, results.get()), cudaSuccess);
  const std::vector<int> got = results.read();
  for (int lane = 0; lane < 32; ++lane) {
    const std::vector<int> expected{5,
                                    lane ^ 3,
                                    lane < 2 ? lane : lane - 2,
                                    lane > 29 ? lane : lane + 2,
                                    lane / 8 * 8 + 1,
                                    lane % 8 > 4 ? lane : lane + 3};
    EXPECT_EQ(std::vector<int>(got.begin() + lane * 6, got.begin() + lane * 6 + 6), expected)
        << "lane " << lane;
  }
}

// Halves of a warp that go different ways meet among themselves.
__global__ void vote_by_halves(unsigned* results) {
  const bool is_odd = threadIdx.x % 2 != 0;
  unsigned result = 0;
  if (threadIdx.x < 16) {
    result = __ballot_sync(0x0000ffffU, is_odd ? 1 : 0);
  } else {
    result = static_cast<unsigned>(__any_sync(0xffff0000U, threadIdx.x == 20 ? 1 : 0)) +
             2 * static_cast<unsigned>(__all_sync(0xffff0000U, threadIdx.x != 21 ? 1 : 0));
  }
  __syncwarp();
  results[threadIdx.x] = result;
}

TEST(EmulatedThreads, MeetInPartsOfAWarp) {
  const DeviceArray<unsigned> results(32);
  ASSERT_EQ(launch({dim3(1), dim3(32)}, vote_by_halves, results.get()), cudaSuccess);
  const std::vector<unsigned> got = results.read();
  for (size_t lane = 0; lane < 32; ++lane) EXPECT_EQ(got[lane], lane < 16 ? 0xaaaaU : 1U) << "lane " << lane;
}

__global__ void count_votes(int* results) {
  const int n = __syncthreads_count(threadIdx.x % 3 == 0 ? 1 : 0);
  const int any = __syncthreads_or(threadIdx.x == 77 ? 1 : 0);
  const int all = __syncthreads_and(threadIdx.x != 77 ? 1 : 0);
  if (threadIdx.x == 95) {
    results[0] = n;
    results[1] = any;
    results[2] = all;
  }
}

TEST(EmulatedThreads, VoteAtABarrier) {
  const DeviceArray<int> results(3);
  ASSERT_EQ(launch({dim3(1), dim3(96)}, count_votes, results.get()), cudaSuccess);
  EXPECT_EQ(results.read(), (std::vector<int>{32, 1, 0}));
}

__global__ void reverse_through_launch_shared(int* values) {
  NANOCHAT_LAUNCH_SHARED(int, places);
  places[threadIdx.x] = values[threadIdx.x];
  __syncthreads();
  values[threadIdx.x] = places[blockDim.x - 1 - threadIdx.x];
}

TEST(EmulatedThreads, ShareMemoryWhoseSizeTheLaunchGives) {
  const size_t n = 1024;
  std::vector<int> values(n);
  std::iota(values.begin(), values.end(), 0);
  const DeviceArray<int> device_values(values);
  ASSERT_EQ(launch({dim3(1), dim3(n), n * sizeof(int)}, reverse_through_launch_shared, device_values.get()),
            cudaSuccess);
  std::reverse(values.begin(), values.end());
  EXPECT_EQ(device_values.read(), values);
}

__global__ void read_unwritten_shared(float* values) {
  __shared__ float place[8];
  NANOCHAT_LAUNCH_SHARED(float, launch_place);
  values[2 * blockIdx.x] = place[3];
  values[2 * blockIdx.x + 1] = launch_place[3];
  __syncthreads();
  place[3] = launch_place[3] = 1.0F;
}

TEST(EmulatedThreads, FindNaNInSharedMemoryThatTheirBlockHasNotWritten) {
  const DeviceArray<float> values(6);
  ASSERT_EQ(launch({dim3(3), dim3(1), 64}, read_unwritten_shared, values.get()), cudaSuccess);
  for (const float value : values.read()) EXPECT_TRUE(std::isnan(value));
}

// --- errors ----------------------------------------------------------------------------------------------

__global__ void diverge_at_barrier(int* values) {
  if (threadIdx.x < 40) __syncthreads();
  values[threadIdx.x] = 1;
}
__global__ void end_before_barrier(int* values) {
  if (threadIdx.x == 7) return;
  __syncthreads();
  values[threadIdx.x] = 1;
}
__global__ void diverge_at_mma(float* values) {
  float d[4] = {};
  const uint32_t a[4] = {}, b[2] = {};
  if (threadIdx.x != 9) cuda::mma_bf16(d, a, b);
  values[threadIdx.x] = d[0];
}
__global__ void mix_operations(int* values) {
  values[threadIdx.x] = threadIdx.x == 3 ? __shfl_sync(0xffffffffU, 1, 0) : __any_sync(0xffffffffU, 1);
}
__global__ void shuffle_from_outside(int* values) {
  if (threadIdx.x < 16) values[threadIdx.x] = __shfl_xor_sync(0x0000ffffU, 1, 16);
}

using EmulatedThreadsDeathTest = testing::Test;

template <class Kernel, class T>
void run(Kernel kernel, unsigned n_threads, T* values) {
  launch({dim3(1), dim3(n_threads)}, kernel, values);
  cudaDeviceSynchronize();
}

TEST(EmulatedThreadsDeathTest, OfABlockThatDoNotAllReachABarrierAreNamed) {
  const DeviceArray<int> values(64);
  EXPECT_DEATH(run(diverge_at_barrier, 64, values.get()),
               "diverge_at_barrier.*40 of 64 threads wait at __syncthreads.*24 have ended");
  EXPECT_DEATH(run(end_before_barrier, 64, values.get()),
               "end_before_barrier.*the first that does not: thread \\(7, 0, 0\\), which has ended");
}

TEST(EmulatedThreadsDeathTest, OfAWarpThatDoNotAllReachAnOperationAreNamed) {
  const DeviceArray<float> values(32);
  EXPECT_DEATH(run(diverge_at_mma, 32, values.get()),
               "diverge_at_mma.*lanes 0xfffffdff wait at mma_bf16.*lanes 0x00000200 have ended");
  const DeviceArray<int> numbers(48);
  EXPECT_DEATH(run(shuffle_all, 16, numbers.get()), "lanes 0xffff0000 are not in the block");
  EXPECT_DEATH(run(mix_operations, 32, numbers.get()), "mix_operations.*is at __.*_sync.. while lanes");
  EXPECT_DEATH(run(shuffle_from_outside, 32, numbers.get()), "lane 0 reads lane 16, which takes no part");
}

}  // namespace
}  // namespace nanochat::emulation
