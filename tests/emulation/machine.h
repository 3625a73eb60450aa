// The emulated machine: its GPUs, their contexts, what a call of the API goes through.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuda_runtime_api.h"

namespace nanochat::emulation {

struct Fault {
  std::string function;
  int calls_left;
  cudaError_t code;
};

struct Gpu {
  cudaError_t lost = cudaSuccess;  // what every call answers since a kernel has failed
  cudaStream_t default_stream = nullptr;
  std::map<const void*, int> shared_limits;  // by kernel
};

struct Machine {
  static constexpr int kMostGpus = 8;
  static constexpr size_t kBlockSharedBytes = 48 << 10, kBlockSharedOptinBytes = 227 << 10;
  std::recursive_mutex mutex;  // of all that follows, and held while kernels run
  int n_gpus = 1;
  uint64_t memory_bytes = uint64_t{8} << 30;  // of each GPU
  Gpu gpus[kMostGpus];
  std::vector<Fault> faults;
  uint64_t n_launches = 0, n_copies = 0, n_graph_launches = 0, n_kernels_run = 0;
};
Machine& machine();

int current_device();
inline Gpu& current_gpu() { return machine().gpus[current_device()]; }

// The code that a test wants this call to give; success where none does. Kernels that run are "kernel".
cudaError_t take_fault(const char* function);
bool is_final(cudaError_t);  // no later call of the context succeeds
cudaError_t lose_if_final(int device, cudaError_t);
cudaError_t note_error(cudaError_t);  // for cudaGetLastError()

enum class WhenLost { answer, work };

// Around the body of every function of the API.
template <class Body>
cudaError_t call(const char* function, Body body, WhenLost when_lost = WhenLost::answer) {
  const std::lock_guard lock(machine().mutex);
  if (machine().n_gpus == 0) return note_error(cudaErrorNoDevice);
  const int device = current_device();
  cudaError_t code = lose_if_final(device, take_fault(function));
  if (code == cudaSuccess) code = machine().gpus[device].lost;
  if (code == cudaSuccess || when_lost == WhenLost::work) {
    const cudaError_t own = body();
    if (code == cudaSuccess) code = own;
  }
  if (code == cudaSuccess) code = machine().gpus[device].lost;
  return note_error(code);
}

}  // namespace nanochat::emulation
