// The entries of the CUDA module: lists the GPUs, makes the one that was asked for a device, or says why it
// cannot.
#include "kernels/cuda_module.h"

#include <charconv>

#include "device/cuda_device.h"
#include "device/cuda_error.h"
#include "device/gpu_memory.h"

namespace {

using namespace nanochat;
using namespace nanochat::cuda;

int count_devices() {
  int n_devices = 0;
  require_init("cudaGetDeviceCount", cudaGetDeviceCount(&n_devices));
  if (n_devices == 0) refuse_init("cudaGetDeviceCount", cudaErrorNoDevice, "");
  return n_devices;
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

// The oldest GPU with bf16 matrix products.
constexpr int kLeastCapability = 80;

void require_capability(const CudaDevice& device) {
  if (device.limits().capability >= kLeastCapability) return;
  const DeviceFacts facts = device.facts();
  const std::string actual = format_text("{}.{}", facts.capability_major, facts.capability_minor);
  throw Error(Status::cuda_capability_insufficient)
      .subject(device.name())
      .field("actual_cc", actual)
      .field("required_cc", "8.0")
      .field("gpu_name", facts.hardware)
      .hint("use a GPU of the Ampere generation or later")
      .say("GPU compute capability {} insufficient, required {}", actual, "8.0");
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) std::shared_ptr<Device> nanochat_cuda_module_v2(
    const std::string& name, const MemoryOptions& memory, std::shared_ptr<ThreadPool> threads,
    std::shared_ptr<Log> log) {
  const int index = device_index(name, count_devices());
  const auto context = std::make_shared<const Context>(index);
  auto host = make_cpu_device(Memory::create(make_host_memory(), {}), threads, log, "");
  auto device = std::make_shared<CudaDevice>(index, context,
                                             Memory::create(std::make_shared<GpuMemory>(context), memory),
                                             std::move(host), std::move(threads), std::move(log));
  require_capability(*device);
  return device;
}

// Looks at each GPU without keeping a context on it.
__attribute__((visibility("default"))) std::vector<CudaDeviceInfo> nanochat_cuda_devices_v2() {
  std::vector<CudaDeviceInfo> devices;
  const int n_devices = count_devices();
  for (int i = 0; i < n_devices; ++i) {
    cudaDeviceProp properties{};
    require_init("cudaGetDeviceProperties", cudaGetDeviceProperties(&properties, i));
    CudaDeviceInfo info;
    info.facts.device_id = i;
    info.facts.hardware = properties.name;
    info.facts.capability_major = properties.major;
    info.facts.capability_minor = properties.minor;
    info.facts.driver_version = driver_version();
    info.facts.cuda_version = runtime_version();
    info.total_bytes = properties.totalGlobalMem;
    const auto context = std::make_shared<const Context>(i);
    info.available_bytes = GpuMemory(context).available_bytes();
    devices.push_back(std::move(info));
  }
  return devices;
}

}  // extern "C"
