// Runs one block of a kernel: a fiber per thread, each until it must wait for others.
#pragma once

#include <cstddef>
#include <string>

#include "lanes.h"

namespace nanochat::emulation {

enum class Order { ascending, descending };  // of threads between barriers

struct KernelBody {
  void (*invoke)(void (*kernel)(), void* const* arguments);
  void (*kernel)();
  void* const* arguments;
  bool must_wait_for_kernels;  // it was launched so that it may begin before its predecessor has ended
};

void run_block(const KernelBody&, uint3 block_index, dim3 block_shape, dim3 grid_shape, Order);

// "kernel nanochat::cuda::f(float*), block (1, 0, 0), thread (3, 0, 0)", or "" where none runs.
std::string describe_place();

}  // namespace nanochat::emulation
