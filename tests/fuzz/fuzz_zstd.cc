// Any bytes as a zstd stream: refused, or decoded within the limit; what we compress comes back.
#include <cstdint>
#include <string>

#include "fuzz_property.h"
#include "io/zstd_stream.h"

using namespace nanochat;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr uint64_t kMaxBytes = 1 << 20;
  const std::span<const std::byte> input(reinterpret_cast<const std::byte*>(data), size);
  try {
    require_property(decompress_zstd(input, "fuzz", kMaxBytes).size() <= kMaxBytes);
  } catch (const Error& error) {
    require_refusal(error);
  }
  const std::string frame = compress_zstd(input, 1);
  const std::string back =
      decompress_zstd({reinterpret_cast<const std::byte*>(frame.data()), frame.size()}, "fuzz", size);
  require_property(back == std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}
