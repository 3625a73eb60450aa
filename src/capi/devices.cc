#include <algorithm>

#include "base/error.h"
#include "capi/arguments.h"
#include "capi/default_device.h"
#include "capi/guard.h"
#include "kernels/cuda_module.h"

using namespace nanochat;

namespace {

constexpr size_t kDeviceInfoSize = 176;

// No GPU is no error here: `reason` says what is missing.
std::vector<CudaDeviceInfo> find_gpus(std::string& reason) {
  try {
    return list_cuda_devices();
  } catch (const Error& error) {
    reason = error.message();
    return {};
  }
}

bool prefers_gpu() {
#ifdef NANOCHAT_WITH_CUDA
  return true;
#else
  return false;
#endif
}

nanochat_device_info describe_host(bool is_default) {
  const std::shared_ptr<RawMemory> memory = make_host_memory();
  nanochat_device_info info{};
  export_text("cpu", info.name);
  export_text(processor_name(), info.hardware);
  info.is_default = is_default ? 1 : 0;
  info.total_bytes = memory->total_bytes();
  info.available_bytes = memory->available_bytes();
  return info;
}

nanochat_device_info describe_gpu(const CudaDeviceInfo& gpu, bool is_default) {
  nanochat_device_info info{};
  export_text(format_text("cuda:{}", gpu.facts.device_id), info.name);
  export_text(gpu.facts.hardware, info.hardware);
  info.is_default = is_default ? 1 : 0;
  info.capability = gpu.facts.capability_major * 10 + gpu.facts.capability_minor;
  info.total_bytes = gpu.total_bytes;
  info.available_bytes = gpu.available_bytes;
  return info;
}

}  // namespace

namespace nanochat {

std::string default_device(Log& log) {
  if (!prefers_gpu()) return "cpu";
  std::string reason;
  const std::vector<CudaDeviceInfo> gpus = find_gpus(reason);
  if (gpus.empty()) {
    log.write(LogLevel::warning, "no device was named and no GPU is usable: the CPU is used. {}", reason);
    return "cpu";
  }
  log.write(LogLevel::info, "no device was named: cuda:0 is used, {}", gpus.front().facts.hardware);
  return "cuda:0";
}

}  // namespace nanochat

extern "C" {

nanochat_status nanochat_device_count(size_t* out_count, nanochat_error** error) {
  return guard(error, [&] {
    require_pointer(out_count, "out_count");
    std::string reason;
    *out_count = 1 + find_gpus(reason).size();
  });
}

nanochat_status nanochat_device_describe(size_t index, nanochat_device_info* info, nanochat_error** error) {
  return guard(error, [&] {
    require_info(info, "nanochat_device_info", kDeviceInfoSize);
    std::string reason;
    const std::vector<CudaDeviceInfo> gpus = find_gpus(reason);
    if (index > gpus.size()) {
      throw Error(Status::out_of_range)
          .subject("index")
          .say("device {} is asked for, this machine has devices 0 to {}", index, gpus.size());
    }
    const bool gpu_first = prefers_gpu() && !gpus.empty();
    export_info(
        index == 0 ? describe_host(!gpu_first) : describe_gpu(gpus[index - 1], gpu_first && index == 1),
        info);
  });
}

}  // extern "C"
