// A header on any bytes: refused, or its tensors cover the data exactly.
#include <cstdint>
#include <string_view>

#include "base/utf8.h"
#include "fuzz_property.h"
#include "io/safetensors.h"

using namespace nanochat;

namespace {

void check(const std::vector<TensorInfo>& tensors, uint64_t data_bytes) {
  uint64_t position = 0;
  for (const TensorInfo& tensor : tensors) {
    require_property(!tensor.name.empty() && is_valid_utf8(tensor.name) &&
                     tensor.shape.size() <= kMaxTensorRank);
    require_property(tensor.offset == position);
    const TensorView view{tensor.dtype, tensor.shape, nullptr};
    require_property(static_cast<uint64_t>(view.n_bytes()) == tensor.n_bytes);
    position += tensor.n_bytes;
  }
  require_property(position == data_bytes);
}

}  // namespace

// The first two bytes are the size of the data, the rest is the header.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const uint64_t data_bytes = data[0] | uint64_t{data[1]} << 8;
  const std::string_view header(reinterpret_cast<const char*>(data + 2), size - 2);
  std::vector<TensorInfo> tensors;
  std::map<std::string, std::string> metadata;
  try {
    parse_safetensors_header(header, data_bytes, "fuzz", tensors, metadata);
    check(tensors, data_bytes);
  } catch (const Error& error) {
    require_refusal(error);
    require_property(is_valid_utf8(error.message()));
  }
  return 0;
}
