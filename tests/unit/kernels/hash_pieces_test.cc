#include "every_device.h"

namespace nanochat::testing {
namespace {

class HashPieces : public EveryDevice {};
NANOCHAT_ON_EVERY_DEVICE(HashPieces);

// hash128() is held against xxhsum in its own test.
TEST_P(HashPieces, GivesTheHashOfEveryPiece) {
  for (const int64_t piece : {256, 1024, 4096, 5 * 64, 1 << 16}) {
    for (const int64_t n : {int64_t{1}, int64_t{63}, piece - 1, piece, piece + 1, 3 * piece, 3 * piece + 17,
                            3 * piece + 240, 3 * piece + 241, 9 * piece + 1025}) {
      std::vector<uint8_t> bytes(static_cast<size_t>(n));
      for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(mix(n, i));
      const DeviceArray<uint8_t> data(device(), bytes);
      std::vector<Hash128> hashes(static_cast<size_t>((n + piece - 1) / piece));
      kernels().hash_pieces(device(), data.data(), n, piece, hashes);
      for (size_t i = 0; i < hashes.size(); ++i) {
        const size_t first = i * static_cast<size_t>(piece);
        const size_t length = std::min(static_cast<size_t>(piece), bytes.size() - first);
        ASSERT_EQ(hashes[i].hex(), hash128(std::as_bytes(std::span(bytes)).subspan(first, length)).hex())
            << "piece " << i << " of " << piece << " bytes, " << n << " in all";
      }
    }
  }
}

}  // namespace
}  // namespace nanochat::testing
