// What a GPU says about itself and its memory.
#include <dlfcn.h>

#include "device/cuda_device.h"
#include "device/cuda_error.h"

namespace nanochat::cuda {

namespace {

// The driver's management library, if it is there: temperature and power. Numbers of its interface are
// NVML's.
class Management {
 public:
  Management() {
    library_ = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library_ == nullptr || !find("nvmlInit_v2", init_) || init_() != 0) return;
    is_ready_ = find("nvmlDeviceGetHandleByPciBusId_v2", by_bus_id_) &&
                find("nvmlDeviceGetTemperature", temperature_) && find("nvmlDeviceGetPowerUsage", power_);
  }

  void read(int device_index, DeviceFacts& facts) const {
    char bus_id[32] = {};
    void* device = nullptr;
    if (!is_ready_ || cudaDeviceGetPCIBusId(bus_id, sizeof bus_id, device_index) != cudaSuccess) return;
    if (by_bus_id_(bus_id, &device) != 0) return;
    constexpr int kGpuSensor = 0;
    unsigned degrees = 0, milliwatts = 0;
    if (temperature_(device, kGpuSensor, &degrees) == 0) facts.temperature_celsius = degrees;
    if (power_(device, &milliwatts) == 0) facts.power_watts = milliwatts / 1000.0;
  }

 private:
  template <class Function>
  bool find(const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library_, name));
    return function != nullptr;
  }

  void* library_ = nullptr;
  bool is_ready_ = false;
  int (*init_)() = nullptr;
  int (*by_bus_id_)(const char*, void**) = nullptr;
  int (*temperature_)(void*, int, unsigned*) = nullptr;
  int (*power_)(void*, unsigned*) = nullptr;
};

}  // namespace

DeviceFacts CudaDevice::facts() const {
  static const Management management;
  const UseContext use(*context_);
  DeviceFacts facts;
  facts.device_id = index_;
  facts.hardware = hardware_;
  facts.capability_major = capability_major_;
  facts.capability_minor = capability_minor_;
  facts.driver_version = driver_version();
  facts.cuda_version = runtime_version();
  management.read(index_, facts);
  return facts;
}

bool CudaDevice::is_resident(const void* pointer, size_t n_bytes) const noexcept {
  if (pointer == nullptr || n_bytes == 0) return false;
  const UseContext use(*context_);
  const auto is_ours = [&](const void* byte) {
    cudaPointerAttributes attributes{};
    if (cudaPointerGetAttributes(&attributes, byte) != cudaSuccess) {
      cudaGetLastError();
      return false;
    }
    return attributes.type == cudaMemoryTypeDevice && attributes.device == index_;
  };
  return is_ours(pointer) && is_ours(static_cast<const std::byte*>(pointer) + n_bytes - 1);
}

}  // namespace nanochat::cuda
