// A kernel with its arguments, from the call that launches it until it runs.
#pragma once

#include <cstddef>
#include <vector>

#include "cuda_runtime_api.h"
#include "kernel_facts.h"

namespace nanochat::emulation {

struct LaunchRequest {
  const void* kernel;
  dim3 grid, block;
  size_t shared_bytes;
  void** arguments;
  bool may_begin_early;  // before the kernel before it has ended
};

struct Launch {
  const KernelFacts* facts = nullptr;
  AnyKernel kernel = nullptr;
  dim3 grid, block;
  size_t shared_bytes = 0;
  bool may_begin_early = false;
  std::vector<std::byte> bytes;  // of the arguments
  std::vector<size_t> offsets;
};

// Copies the arguments. Under the machine's mutex, as the next one.
cudaError_t make_launch(const LaunchRequest&, int device, Launch& launch);
cudaError_t run_launch(Launch&, int device);

}  // namespace nanochat::emulation
