// The entry of the CUDA module: finds the device that was asked for, or says why there is none.
#include "kernels/cuda_module.h"

#include <charconv>

#include <cuda_runtime_api.h>

namespace {

using nanochat::Error;
using nanochat::Status;

std::string driver_version() {
  int version = 0;
  if (cudaDriverGetVersion(&version) != cudaSuccess || version == 0) return "";
  return nanochat::format_text("{}.{}", version / 1000, version % 1000 / 10);
}

[[noreturn]] void refuse(const char* call, cudaError_t code, const std::string& gpu_name) {
  const std::string reason =
      nanochat::format_text("{}: {} ({})", call, cudaGetErrorString(code), cudaGetErrorName(code));
  throw Error(Status::cuda_init_failed)
      .subject("cuda")
      .say("CUDA initialization failed: {}", reason)
      .field("cuda_error", reason)
      .field("driver_version", driver_version())
      .field("gpu_name", gpu_name)
      .os_code(static_cast<int>(code))
      .hint("check the driver and the GPU with nvidia-smi");
}

int device_index(const std::string& name, int n_devices) {
  const size_t colon = name.find(':');
  if (colon == std::string::npos) return 0;
  int index = -1;
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data() + colon + 1, end, index);
  if (parsed.ec != std::errc() || parsed.ptr != end || index < 0 || index >= n_devices) {
    throw Error(Status::invalid_argument)
        .subject("nanochat_runtime_options.device")
        .say("device is '{}', this machine has CUDA devices 0 to {}", name, n_devices - 1);
  }
  return index;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) std::shared_ptr<nanochat::Device> nanochat_cuda_module_v1(
    const std::string& name, std::shared_ptr<nanochat::ThreadPool>, std::shared_ptr<nanochat::Log>,
    uint64_t) {
  int n_devices = 0;
  if (const cudaError_t code = cudaGetDeviceCount(&n_devices); code != cudaSuccess) {
    refuse("cudaGetDeviceCount", code, "");
  }
  const int index = device_index(name, n_devices);
  cudaDeviceProp properties{};
  if (const cudaError_t code = cudaGetDeviceProperties(&properties, index); code != cudaSuccess) {
    refuse("cudaGetDeviceProperties", code, "");
  }
  // The module knows the machine but has no operations in this release.
  throw Error(Status::unsupported)
      .subject(name)
      .say("{} is {} (compute capability {}.{}), but this release runs models on the CPU only", name,
           properties.name, properties.major, properties.minor)
      .hint("use device \"cpu\"");
}
