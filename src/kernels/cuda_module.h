// The door to libnanochat_cuda.so, which is loaded only when a CUDA device is asked for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/thread_pool.h"
#include "memory/memory.h"
#include "tensor/device.h"

namespace nanochat {

// What the module exports. Both throw Error. The names change with what passes here, so that a library and a
// module that were not built together refuse each other.
using CudaModuleEntry = std::shared_ptr<Device> (*)(const std::string& name, const MemoryOptions& memory,
                                                    std::shared_ptr<ThreadPool> threads,
                                                    std::shared_ptr<Log> log);
using CudaDevicesEntry = std::vector<CudaDeviceInfo> (*)();
inline constexpr const char* kCudaModuleFile = "libnanochat_cuda.so";
inline constexpr const char* kCudaModuleEntry = "nanochat_cuda_module_v2";
inline constexpr const char* kCudaDevicesEntry = "nanochat_cuda_devices_v2";

// name: "cuda" or "cuda:N". Throws cuda_init_failed with the loader's, driver's or GPU's reason: never a
// device of another kind.
std::shared_ptr<Device> make_cuda_device(const std::string& name, const MemoryOptions& memory,
                                         std::shared_ptr<ThreadPool> threads, std::shared_ptr<Log> log);
std::vector<CudaDeviceInfo> list_cuda_devices();

// The same from a module at this path.
std::shared_ptr<Device> make_cuda_device_from(const std::string& module_path, const std::string& name,
                                              const MemoryOptions& memory,
                                              std::shared_ptr<ThreadPool> threads, std::shared_ptr<Log> log);

}  // namespace nanochat
