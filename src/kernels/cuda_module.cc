#include "kernels/cuda_module.h"

#include <dlfcn.h>

namespace nanochat {

namespace {

[[noreturn]] void refuse(std::string_view reason) {
  throw Error(Status::cuda_init_failed)
      .subject(kCudaModuleFile)
      .say("CUDA initialization failed: {}", reason)
      .field("cuda_error", reason)
      .field("driver_version", "")
      .field("gpu_name", "")
      .hint(
          "build with NANOCHAT_CUDA=ON, install libnanochat_cuda.so beside libnanochat.so, check nvidia-smi");
}

// Beside this library first, so that an installed pair always belongs together.
std::string path_beside_this_library() {
  Dl_info self;
  if (dladdr(reinterpret_cast<void*>(&make_cuda_device), &self) != 0 && self.dli_fname != nullptr) {
    const std::string path = self.dli_fname;
    const size_t slash = path.rfind('/');
    if (slash != std::string::npos) return path.substr(0, slash + 1) + kCudaModuleFile;
  }
  return kCudaModuleFile;
}

// The module stays loaded: its device may outlive any handle we could close here.
template <class Entry>
Entry find_entry(const std::string& module_path, const char* name) {
  void* module = dlopen(module_path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) {
    const char* reason = dlerror();
    refuse(reason == nullptr ? "the module cannot be loaded" : reason);
  }
  const auto entry = reinterpret_cast<Entry>(dlsym(module, name));
  if (entry == nullptr)
    refuse(format_text("{} does not export {}: it belongs to another version", module_path, name));
  return entry;
}

}  // namespace

std::shared_ptr<Device> make_cuda_device(const std::string& name, const MemoryOptions& memory,
                                         std::shared_ptr<ThreadPool> threads, std::shared_ptr<Log> log) {
  return make_cuda_device_from(path_beside_this_library(), name, memory, std::move(threads), std::move(log));
}

std::vector<CudaDeviceInfo> list_cuda_devices() {
  return find_entry<CudaDevicesEntry>(path_beside_this_library(), kCudaDevicesEntry)();
}

std::shared_ptr<Device> make_cuda_device_from(const std::string& module_path, const std::string& name,
                                              const MemoryOptions& memory,
                                              std::shared_ptr<ThreadPool> threads, std::shared_ptr<Log> log) {
  const auto entry = find_entry<CudaModuleEntry>(module_path, kCudaModuleEntry);
  return entry(name, memory, std::move(threads), std::move(log));
}

}  // namespace nanochat
