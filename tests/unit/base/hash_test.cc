#include "base/hash.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace nanochat {
namespace {

std::vector<std::byte> pattern(size_t n) {
  std::vector<std::byte> bytes(n);
  for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>((i * 131 + 7) & 255);
  return bytes;
}

struct KnownHash {
  size_t n_bytes;
  uint64_t hash64;
  const char* hash128;
};

// xxhsum 0.8.1 -H3 and -H2 over files with the bytes of pattern(). Lengths on both sides of every branch of
// XXH3.
constexpr KnownHash kKnown[] = {
    {0, 0x2d06800538d394c2, "99aa06d3014798d86001c324468d497f"},
    {1, 0x4c5cca45d0f4811f, "495b62073ef70ca44c5cca45d0f4811f"},
    {3, 0x6e3e2670e61106ac, "390cdc5b4a895dd76e3e2670e61106ac"},
    {4, 0x5c4c63133443d03f, "aa6e2f274640a3f43d668af6f2a44d77"},
    {8, 0xf9fd4dd0b04d78f5, "6a86a3bda6af4e3d61ddbe7f31a6100d"},
    {16, 0x86abf6baccea0858, "7f9a218b0425449ae2ce54a7c19c730d"},
    {17, 0xb58bf5dc5022d071, "66fc23f6439dbd778d96ef110fcdebb4"},
    {128, 0x10d17f72c0ccba41, "aec730751478556cff361dec1385710a"},
    {129, 0x1648bdc3db49d1a2, "98cd36ccbb5579264545b3a09738e31a"},
    {240, 0xb6cfaf343fab81e6, "5293e17bf553903d3f2c53e72293711f"},
    {241, 0x956cae592c67279e, "b53840fe3fedf161956cae592c67279e"},
    {1024, 0x70bd377d9574f4bb, "f69630613f24324d70bd377d9574f4bb"},
    {100000, 0x14ce8d6fc2c4868b, "e9e46da59b77e42314ce8d6fc2c4868b"},
};

TEST(Hash, AgreesWithXxhsum) {
  for (const KnownHash& known : kKnown) {
    const auto bytes = pattern(known.n_bytes);
    EXPECT_EQ(hash64(bytes), known.hash64) << known.n_bytes;
    EXPECT_EQ(hash128(bytes).hex(), known.hash128) << known.n_bytes;
  }
}

TEST(Hash, DependsOnTheSeedAndOnEveryByte) {
  auto bytes = pattern(300);
  const uint64_t before = hash64(bytes);
  EXPECT_NE(hash64(bytes, 1), before);
  for (std::byte& byte : bytes) {
    byte ^= std::byte{1};
    EXPECT_NE(hash64(bytes), before);
    byte ^= std::byte{1};
  }
}

TEST(Hash, DoesNotDependOnTheAlignment) {
  const auto bytes = pattern(1000);
  std::vector<std::byte> shifted(bytes.size() + 1);
  std::copy(bytes.begin(), bytes.end(), shifted.begin() + 1);
  EXPECT_EQ(hash128(std::span(shifted).subspan(1)), hash128(bytes));
}

}  // namespace
}  // namespace nanochat
