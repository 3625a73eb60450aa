// CUDA's answers as errors of the library: always with CUDA's own name and text.
#pragma once

#include <string>

#include <cuda_runtime.h>

#include "base/error.h"

namespace nanochat::cuda {

std::string reason_of(const char* call,
                      cudaError_t code);  // "cudaMalloc: out of memory (cudaErrorMemoryAllocation)"
std::string driver_version();             // "13.0"; "": there is none
std::string runtime_version();

// Whether every later call of this process's context fails too.
bool is_context_lost(cudaError_t code);

// 106: the device cannot be used at all.
[[noreturn]] void refuse_init(const char* call, cudaError_t code, const std::string& gpu_name);

// For calls before a device exists: throws refuse_init() unless it is success.
inline void require_init(const char* call, cudaError_t code, const std::string& gpu_name = "") {
  if (code != cudaSuccess) refuse_init(call, code, gpu_name);
}

}  // namespace nanochat::cuda
