#include <algorithm>

#include "kernels/cpu/reference.h"
#include "tensor/device.h"

namespace nanochat::reference {

void hash_pieces(Device& device, const void* data, int64_t n_bytes, int64_t piece_bytes,
                 std::span<Hash128> hashes) {
  const std::span bytes(static_cast<const std::byte*>(data), static_cast<size_t>(n_bytes));
  device.threads().parallel_for(std::ssize(hashes), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto first = static_cast<size_t>(i * piece_bytes);
      hashes[static_cast<size_t>(i)] =
          hash128(bytes.subspan(first, std::min(static_cast<size_t>(piece_bytes), bytes.size() - first)));
    }
  });
}

}  // namespace nanochat::reference
