#include "device/cuda_error.h"

namespace nanochat::cuda {

namespace {

std::string version_text(int version) {
  return version == 0 ? "" : format_text("{}.{}", version / 1000, version % 1000 / 10);
}

}  // namespace

std::string reason_of(const char* call, cudaError_t code) {
  return format_text("{}: {} ({})", call, cudaGetErrorString(code), cudaGetErrorName(code));
}

std::string driver_version() {
  int version = 0;
  return cudaDriverGetVersion(&version) == cudaSuccess ? version_text(version) : "";
}

std::string runtime_version() {
  int version = 0;
  return cudaRuntimeGetVersion(&version) == cudaSuccess ? version_text(version) : "";
}

bool is_context_lost(cudaError_t code) {
  switch (code) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContextIsDestroyed:
    case cudaErrorDevicesUnavailable:
    case cudaErrorNoDevice:
    case cudaErrorMpsConnectionFailed:
    case cudaErrorMpsServerNotReady:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

void refuse_init(const char* call, cudaError_t code, const std::string& gpu_name) {
  cudaGetLastError();  // or the host's next check of its own finds it
  const std::string reason = reason_of(call, code);
  throw Error(Status::cuda_init_failed)
      .subject("cuda")
      .say("CUDA initialization failed: {}", reason)
      .field("cuda_error", reason)
      .field("driver_version", driver_version())
      .field("gpu_name", gpu_name)
      .os_code(static_cast<int>(code))
      .hint("check the driver and the GPU with nvidia-smi");
}

}  // namespace nanochat::cuda
