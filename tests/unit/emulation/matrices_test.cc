// The instructions of tensor cores and of asynchronous copies. Fragments are expected where PTX ISA, "Matrix
// Fragments for mma.m16n8k16" and "mma.m16n8k32", puts them: written down once more, from its formulas.
#include <random>

#include "device_array.h"
#include "hardware/numbers.h"

namespace nanochat::emulation {
namespace {

// Element i of lane's fragments. Two bf16, or four bytes, lie in a register, the first one lowest.
struct Place {
  int row, column;
};
Place a_bf16(int lane, int i) {
  const int group = lane >> 2, in_group = lane % 4;
  return {(i < 2 || (i >= 4 && i < 6)) ? group : group + 8, in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0)};
}
Place b_bf16(int lane, int i) { return {lane % 4 * 2 + (i & 1) + (i >= 2 ? 8 : 0), lane >> 2}; }
Place a_s8(int lane, int i) {
  const int group = lane >> 2, in_group = lane % 4;
  return {(i < 4 || (i >= 8 && i < 12)) ? group : group + 8, in_group * 4 + (i & 3) + (i >= 8 ? 16 : 0)};
}
Place b_s8(int lane, int i) { return {lane % 4 * 4 + (i & 3) + (i >= 4 ? 16 : 0), lane >> 2}; }
Place c_of(int lane, int i) { return {i < 2 ? lane >> 2 : (lane >> 2) + 8, lane % 4 * 2 + (i & 1)}; }

__global__ void multiply_bf16(const uint32_t* a, const uint32_t* b, float* d) {
  const unsigned lane = threadIdx.x;
  const uint32_t own_a[4] = {a[lane * 4], a[lane * 4 + 1], a[lane * 4 + 2], a[lane * 4 + 3]};
  const uint32_t own_b[2] = {b[lane * 2], b[lane * 2 + 1]};
  float own_d[4] = {d[lane * 4], d[lane * 4 + 1], d[lane * 4 + 2], d[lane * 4 + 3]};
  cuda::mma_bf16(own_d, own_a, own_b);
  for (unsigned i = 0; i < 4; ++i) d[lane * 4 + i] = own_d[i];
}

TEST(EmulatedMatrices, OfBf16AreMultipliedWhereTheInstructionPutsThem) {
  // Small integers: every sum is exact, so that order does not matter.
  std::minstd_rand random(1);
  std::vector<int> a(16 * 16), b(16 * 8), c(16 * 8);
  for (auto* values : {&a, &b, &c}) {
    for (int& value : *values) value = static_cast<int>(random() % 31) - 15;
  }
  const auto bits = [](int value) { return cuda::bf16_of_float(static_cast<float>(value)); };
  std::vector<uint32_t> a_words(32 * 4), b_words(32 * 2);
  std::vector<float> d(32 * 4), expected(32 * 4);
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 8; ++i) {
      const Place at = a_bf16(lane, i);
      a_words[static_cast<size_t>(lane * 4 + i / 2)] |= bits(a[static_cast<size_t>(at.row * 16 + at.column)])
                                                        << (i % 2 * 16);
    }
    for (int i = 0; i < 4; ++i) {
      const Place at = b_bf16(lane, i);
      b_words[static_cast<size_t>(lane * 2 + i / 2)] |= bits(b[static_cast<size_t>(at.row * 8 + at.column)])
                                                        << (i % 2 * 16);
      const Place in_c = c_of(lane, i);
      int sum = c[static_cast<size_t>(in_c.row * 8 + in_c.column)];
      d[static_cast<size_t>(lane * 4 + i)] = static_cast<float>(sum);
      for (int k = 0; k < 16; ++k) {
        sum += a[static_cast<size_t>(in_c.row * 16 + k)] * b[static_cast<size_t>(k * 8 + in_c.column)];
      }
      expected[static_cast<size_t>(lane * 4 + i)] = static_cast<float>(sum);
    }
  }
  const DeviceArray<uint32_t> device_a(a_words), device_b(b_words);
  const DeviceArray<float> device_d(d);
  ASSERT_EQ(launch({dim3(1), dim3(32)}, multiply_bf16, device_a.get(), device_b.get(), device_d.get()),
            cudaSuccess);
  EXPECT_EQ(device_d.read(), expected);
}

__global__ void multiply_s8(const uint32_t* a, const uint32_t* b, int32_t* d) {
  const unsigned lane = threadIdx.x;
  const uint32_t own_a[4] = {a[lane * 4], a[lane * 4 + 1], a[lane * 4 + 2], a[lane * 4 + 3]};
  const uint32_t own_b[2] = {b[lane * 2], b[lane * 2 + 1]};
  int32_t own_d[4] = {d[lane * 4], d[lane * 4 + 1], d[lane * 4 + 2], d[lane * 4 + 3]};
  cuda::mma_s8(own_d, own_a, own_b);
  for (unsigned i = 0; i < 4; ++i) d[lane * 4 + i] = own_d[i];
}

TEST(EmulatedMatrices, OfSignedBytesAreMultipliedExactly) {
  std::minstd_rand random(2);
  std::vector<int> a(16 * 32), b(32 * 8), c(16 * 8);
  for (auto* values : {&a, &b}) {
    for (int& value : *values) value = static_cast<int>(random() % 256) - 128;
  }
  for (int& value : c) value = static_cast<int>(random() % 2000000000U);
  std::vector<uint32_t> a_words(32 * 4), b_words(32 * 2);
  std::vector<int32_t> d(32 * 4), expected(32 * 4);
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 16; ++i) {
      const Place at = a_s8(lane, i);
      const auto byte = static_cast<uint8_t>(a[static_cast<size_t>(at.row * 32 + at.column)]);
      a_words[static_cast<size_t>(lane * 4 + i / 4)] |= uint32_t{byte} << (i % 4 * 8);
    }
    for (int i = 0; i < 8; ++i) {
      const Place at = b_s8(lane, i);
      const auto byte = static_cast<uint8_t>(b[static_cast<size_t>(at.row * 8 + at.column)]);
      b_words[static_cast<size_t>(lane * 2 + i / 4)] |= uint32_t{byte} << (i % 4 * 8);
    }
    for (int i = 0; i < 4; ++i) {
      const Place at = c_of(lane, i);
      int sum = d[static_cast<size_t>(lane * 4 + i)] = c[static_cast<size_t>(at.row * 8 + at.column)];
      for (int k = 0; k < 32; ++k) {
        sum += a[static_cast<size_t>(at.row * 32 + k)] * b[static_cast<size_t>(k * 8 + at.column)];
      }
      expected[static_cast<size_t>(lane * 4 + i)] = sum;
    }
  }
  const DeviceArray<uint32_t> device_a(a_words), device_b(b_words);
  const DeviceArray<int32_t> device_d(d);
  ASSERT_EQ(launch({dim3(1), dim3(32)}, multiply_s8, device_a.get(), device_b.get(), device_d.get()),
            cudaSuccess);
  EXPECT_EQ(device_d.read(), expected);
}

// Row r of matrix i has the values 100 i + 10 r + column, and lies 5 rows of 16 bytes after the one before.
__global__ void load_four_matrices(uint32_t* words) {
  NANOCHAT_LAUNCH_SHARED(uint16_t, place);
  const unsigned lane = threadIdx.x;
  uint16_t* const own_row = place + lane * 5 * 8;
  for (unsigned column = 0; column < 8; ++column) {
    own_row[column] = static_cast<uint16_t>(lane / 8 * 100 + lane % 8 * 10 + column);
  }
  __syncwarp();
  uint32_t r[4];
  cuda::load_matrices(r, own_row);
  for (unsigned i = 0; i < 4; ++i) words[lane * 4 + i] = r[i];
}

TEST(EmulatedMatrices, AreLoadedRowByRowFromTheAddressesOfTheLanes) {
  const DeviceArray<uint32_t> words(128);
  ASSERT_EQ(launch({dim3(1), dim3(32), 32 * 5 * 16}, load_four_matrices, words.get()), cudaSuccess);
  const std::vector<uint32_t> got = words.read();
  for (uint32_t lane = 0; lane < 32; ++lane) {
    for (uint32_t matrix = 0; matrix < 4; ++matrix) {
      const uint32_t first = matrix * 100 + lane / 4 * 10 + lane % 4 * 2;
      EXPECT_EQ(got[lane * 4 + matrix], first | (first + 1) << 16) << "lane " << lane << " matrix " << matrix;
    }
  }
}

// What is in shared memory after two groups of copies were started: before waiting, after the first group,
// after both.
__global__ void copy_in_groups(const uint4* values, uint32_t* seen) {
  __shared__ __align__(16) uint4 place[3];
  cuda::copy_16(&place[0], &values[0]);
  cuda::commit_copies();
  cuda::copy_16(&place[1], &values[1]);
  cuda::copy_16(&place[2], nullptr, false);
  cuda::commit_copies();
  for (unsigned i = 0; i < 3; ++i) seen[i] = place[i].y;
  cuda::wait_copies<1>();
  for (unsigned i = 0; i < 3; ++i) seen[3 + i] = place[i].y;
  cuda::wait_copies<0>();
  for (unsigned i = 0; i < 3; ++i) seen[6 + i] = place[i].y;
}

TEST(EmulatedMatrices, ArriveInSharedMemoryWhenTheirGroupIsWaitedFor) {
  const DeviceArray<uint4> values(std::vector<uint4>{{1, 2, 3, 4}, {5, 6, 7, 8}});
  const DeviceArray<uint32_t> seen(9);
  ASSERT_EQ(launch({dim3(1), dim3(1)}, copy_in_groups, values.get(), seen.get()), cudaSuccess);
  const uint32_t none = 0xffffffffU;
  EXPECT_EQ(seen.read(), (std::vector<uint32_t>{none, none, none, 2, none, none, 2, 6, 0}));
}

__global__ void copy_to_odd_place(const unsigned char* values) {
  __shared__ __align__(16) unsigned char place[64];
  cuda::copy_16(place, values + 8);
}

TEST(EmulatedMatricesDeathTest, AreNotCopiedFromAddressesThatTheHardwareRefuses) {
  const DeviceArray<unsigned char> values(64);
  EXPECT_DEATH(
      {
        launch({dim3(1), dim3(1)}, copy_to_odd_place, values.get());
        cudaDeviceSynchronize();
      },
      "copy_to_odd_place.*copy_16.. from .*: not aligned to 16");
}

}  // namespace
}  // namespace nanochat::emulation
