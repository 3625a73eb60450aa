#include "device/context.h"

#include "device/cuda_error.h"

namespace nanochat::cuda {

namespace {

// The driver's functions, which the runtime hands out: nothing links against the driver.
struct Driver {
  int (*primary_retain)(void** context, int device) = nullptr;
  int (*primary_release)(int device) = nullptr;
  int (*push)(void* context) = nullptr;
  int (*pop)(void** context) = nullptr;
  int (*current)(void** context) = nullptr;
};

template <class Function>
void find(const char* name, Function& function) {
  constexpr unsigned kVersion = 12000;
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result{};
  const cudaError_t code =
      cudaGetDriverEntryPointByVersion(name, &found, kVersion, cudaEnableDefault, &result);
  require_init(name, code);
  if (found == nullptr) refuse_init(name, cudaErrorInsufficientDriver, "");
  function = reinterpret_cast<Function>(found);
}

Driver find_driver() {
  Driver driver;
  find("cuDevicePrimaryCtxRetain", driver.primary_retain);
  find("cuDevicePrimaryCtxRelease", driver.primary_release);
  find("cuCtxPushCurrent", driver.push);
  find("cuCtxPopCurrent", driver.pop);
  find("cuCtxGetCurrent", driver.current);
  return driver;
}

const Driver& driver() {
  static const Driver found = find_driver();
  return found;
}

}  // namespace

Context::Context(int device_index) : device_(device_index) {
  // The numbers of the runtime's errors are the driver's.
  require_init("cuDevicePrimaryCtxRetain",
               static_cast<cudaError_t>(driver().primary_retain(&handle_, device_index)));
}

Context::~Context() { driver().primary_release(device_); }

void Context::push() const noexcept { driver().push(handle_); }

void Context::pop() const noexcept {
  void* ours = nullptr;
  driver().pop(&ours);
}

bool Context::is_current() const noexcept {
  void* current = nullptr;
  return driver().current(&current) == 0 && current == handle_;
}

}  // namespace nanochat::cuda
