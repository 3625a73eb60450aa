// What the lanes of a warp do together: one lane does it for all of them.
#include <cstdint>
#include <cstring>

#include "hardware/ptx.h"
#include "kernel_language.h"

namespace nanochat::emulation {

namespace {

template <class T>
T& of(void* operand) {
  return *static_cast<T*>(operand);
}

float bf16(uint32_t word, int half) {
  const uint32_t bits = half == 0 ? word << 16 : word & 0xffff0000U;
  float value = 0.0F;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <class Body>
void for_lanes(unsigned mask, Body body) {
  for (unsigned lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1U) != 0) body(lane);
  }
}

// c[16][8] += a[16][k] b[k][8], each in the order of k.
template <int kDepth>
void multiply(const float (&a)[16][kDepth], const float (&b)[kDepth][8], float (&c)[16][8]) {
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < kDepth; ++k) {
      const float factor = a[row][k];
      for (int column = 0; column < 8; ++column) c[row][column] += factor * b[k][column];
    }
  }
}

}  // namespace

void complete_shuffle(void* const (&operands)[32], unsigned mask) {
  for_lanes(mask, [&](unsigned lane) {
    Shuffle& own = of<Shuffle>(operands[lane]);
    if ((mask >> own.source & 1U) == 0) {
      fail_kernel("a shuffle with mask 0x%08x: lane %u reads lane %u, which takes no part", mask, lane,
                  own.source);
    }
    own.result = of<Shuffle>(operands[own.source]).value;
  });
}

void complete_ballot(void* const (&operands)[32], unsigned mask) {
  unsigned result = 0;
  for_lanes(mask, [&](unsigned lane) { result |= (of<Vote>(operands[lane]).value != 0 ? 1U : 0U) << lane; });
  for_lanes(mask, [&](unsigned lane) { of<Vote>(operands[lane]).result = result; });
}

void complete_match(void* const (&operands)[32], unsigned mask) {
  for_lanes(mask, [&](unsigned lane) {
    Vote& own = of<Vote>(operands[lane]);
    own.result = 0;
    for_lanes(mask, [&](unsigned other) {
      if (of<Vote>(operands[other]).value == own.value) own.result |= 1U << other;
    });
  });
}

void complete_sum(void* const (&operands)[32], unsigned mask) {
  unsigned sum = 0;
  for_lanes(mask, [&](unsigned lane) { sum += of<Vote>(operands[lane]).value; });
  for_lanes(mask, [&](unsigned lane) { of<Vote>(operands[lane]).result = sum; });
}

void complete_mma_bf16(void* const (&operands)[32], unsigned) {
  float a[16][16], b[16][8], c[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& own = of<MmaBf16>(operands[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int half = 0; half < 2; ++half) {
      a[g][2 * t + half] = bf16(own.a[0], half);
      a[g + 8][2 * t + half] = bf16(own.a[1], half);
      a[g][2 * t + 8 + half] = bf16(own.a[2], half);
      a[g + 8][2 * t + 8 + half] = bf16(own.a[3], half);
      b[2 * t + half][g] = bf16(own.b[0], half);
      b[2 * t + 8 + half][g] = bf16(own.b[1], half);
      c[g][2 * t + half] = own.d[half];
      c[g + 8][2 * t + half] = own.d[2 + half];
    }
  }
  multiply<16>(a, b, c);
  for (int lane = 0; lane < 32; ++lane) {
    const auto& own = of<MmaBf16>(operands[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int half = 0; half < 2; ++half) {
      own.d[half] = c[g][2 * t + half];
      own.d[2 + half] = c[g + 8][2 * t + half];
    }
  }
}

void complete_mma_s8(void* const (&operands)[32], unsigned) {
  // Sums of 32 products of bytes are exact in fp32.
  float a[16][32], b[32][8], c[16][8] = {};
  const auto byte = [](uint32_t word, int i) {
    return static_cast<float>(static_cast<int8_t>(word >> (8 * i)));
  };
  for (int lane = 0; lane < 32; ++lane) {
    const auto& own = of<MmaS8>(operands[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) {
      a[g][4 * t + i] = byte(own.a[0], i);
      a[g + 8][4 * t + i] = byte(own.a[1], i);
      a[g][4 * t + 16 + i] = byte(own.a[2], i);
      a[g + 8][4 * t + 16 + i] = byte(own.a[3], i);
      b[4 * t + i][g] = byte(own.b[0], i);
      b[4 * t + 16 + i][g] = byte(own.b[1], i);
    }
  }
  multiply<32>(a, b, c);
  for (int lane = 0; lane < 32; ++lane) {
    const auto& own = of<MmaS8>(operands[lane]);
    const int g = lane / 4, t = lane % 4;
    const auto add = [](int32_t& sum, float more) {
      sum = static_cast<int32_t>(static_cast<uint32_t>(sum) +
                                 static_cast<uint32_t>(static_cast<int32_t>(more)));
    };
    for (int i = 0; i < 2; ++i) {
      add(own.d[i], c[g][2 * t + i]);
      add(own.d[2 + i], c[g + 8][2 * t + i]);
    }
  }
}

void complete_load_matrices(void* const (&operands)[32], unsigned) {
  for (unsigned matrix = 0; matrix < 4; ++matrix) {
    for (unsigned row = 0; row < 8; ++row) {
      const void* const source = of<LoadMatrices>(operands[matrix * 8 + row]).row;
      if (reinterpret_cast<uintptr_t>(source) % 16 != 0) {
        fail_kernel("load_matrices() of lane %u from %p: not aligned to 16", matrix * 8 + row, source);
      }
      uint32_t words[4];
      std::memcpy(words, source, sizeof words);
      for (unsigned t = 0; t < 4; ++t) of<LoadMatrices>(operands[row * 4 + t]).result[matrix] = words[t];
    }
  }
}

}  // namespace nanochat::emulation
