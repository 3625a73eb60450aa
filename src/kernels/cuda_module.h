// The door to libnanochat_cuda.so, which is loaded only when a CUDA device is asked for.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "base/thread_pool.h"
#include "tensor/device.h"

namespace nanochat {

// What the module exports under kCudaModuleEntry. Throws Error.
using CudaModuleEntry = std::shared_ptr<Device> (*)(const std::string& name,
                                                    std::shared_ptr<ThreadPool> threads,
                                                    std::shared_ptr<Log> log, uint64_t budget_bytes);
inline constexpr const char* kCudaModuleFile = "libnanochat_cuda.so";
inline constexpr const char* kCudaModuleEntry = "nanochat_cuda_module_v1";

// name: "cuda" or "cuda:N". Throws cuda_init_failed with the loader's, driver's or GPU's reason: never a
// device of another kind.
std::shared_ptr<Device> make_cuda_device(const std::string& name, std::shared_ptr<ThreadPool> threads,
                                         std::shared_ptr<Log> log, uint64_t budget_bytes);

// The same from a module at this path.
std::shared_ptr<Device> make_cuda_device_from(const std::string& module_path, const std::string& name,
                                              std::shared_ptr<ThreadPool> threads, std::shared_ptr<Log> log,
                                              uint64_t budget_bytes);

}  // namespace nanochat
