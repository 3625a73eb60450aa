#include "kernels/cpu/reference.h"
#include "kernels/elements.h"
#include "kernels/split_work.h"

namespace nanochat::reference {

void embed(Device& device, const void* table, DType dtype, std::span<const int32_t> ids, int64_t width,
           float* target) {
  device.threads().parallel_for(static_cast<int64_t>(ids.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t id = ids[static_cast<size_t>(row)];
      for (int64_t i = 0; i < width; ++i) target[row * width + i] = element_at(table, dtype, id * width + i);
    }
  });
}

}  // namespace nanochat::reference
