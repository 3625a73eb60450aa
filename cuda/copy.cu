// Copies within the device: kernels like all others, so that a recorded pass holds nothing else.
#include <hardware/ptx.h>

#include "device/launch.h"
#include "hardware/grid.h"

namespace nanochat::cuda {

namespace {

template <class Word>
__global__ void copy_kernel(Word* target, const Word* source, int64_t n) {
  wait_for_earlier_kernels();
  let_next_kernel_start();
  for (int64_t i = first_index(); i < n; i += index_step()) target[i] = source[i];
}

template <class Word>
void copy_words(CudaDevice& device, void* target, const void* source, size_t bytes) {
  const auto n = static_cast<int64_t>(bytes / sizeof(Word));
  launch(device, {grid_for(n), kBlockThreads}, copy_kernel<Word>, static_cast<Word*>(target),
         static_cast<const Word*>(source), n);
}

const KernelList kKernels{kernel_handle(copy_kernel<uint4>), kernel_handle(copy_kernel<uint8_t>)};

}  // namespace

void CudaDevice::copy(void* target, const void* source, size_t bytes) {
  if (bytes == 0) return;
  const auto bits = reinterpret_cast<uintptr_t>(target) | reinterpret_cast<uintptr_t>(source) | bytes;
  if (bits % sizeof(uint4) == 0) {
    copy_words<uint4>(*this, target, source, bytes);
  } else {
    copy_words<uint8_t>(*this, target, source, bytes);
  }
}

}  // namespace nanochat::cuda
