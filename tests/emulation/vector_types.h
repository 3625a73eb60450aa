// CUDA's small vectors, for the emulator.
#pragma once

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned width = 1, unsigned height = 1, unsigned depth = 1)
      : x(width), y(height), z(depth) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

#define NANOCHAT_EMULATED_VECTORS(Scalar, Name)                           \
  struct alignas(2 * sizeof(Scalar)) Name##2 {                            \
    Scalar x, y;                                                          \
  };                                                                      \
  struct alignas(sizeof(Scalar) < 8 ? 4 * sizeof(Scalar) : 16) Name##4 {  \
    Scalar x, y, z, w;                                                    \
  };                                                                      \
  constexpr Name##2 make_##Name##2(Scalar x, Scalar y) { return {x, y}; } \
  constexpr Name##4 make_##Name##4(Scalar x, Scalar y, Scalar z, Scalar w) { return {x, y, z, w}; }
NANOCHAT_EMULATED_VECTORS(float, float)
NANOCHAT_EMULATED_VECTORS(double, double)
NANOCHAT_EMULATED_VECTORS(int, int)
NANOCHAT_EMULATED_VECTORS(unsigned, uint)
NANOCHAT_EMULATED_VECTORS(short, short)
NANOCHAT_EMULATED_VECTORS(unsigned short, ushort)
NANOCHAT_EMULATED_VECTORS(signed char, char)
NANOCHAT_EMULATED_VECTORS(unsigned char, uchar)
NANOCHAT_EMULATED_VECTORS(long long, longlong)
NANOCHAT_EMULATED_VECTORS(unsigned long long, ulonglong)
#undef NANOCHAT_EMULATED_VECTORS
struct float3 {
  float x, y, z;
};
struct int3 {
  int x, y, z;
};
constexpr float3 make_float3(float x, float y, float z) { return {x, y, z}; }
constexpr int3 make_int3(int x, int y, int z) { return {x, y, z}; }
constexpr uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
