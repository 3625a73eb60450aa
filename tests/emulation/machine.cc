#include "machine.h"

#include <cstdio>
#include <cstring>

#include "emulated_memory.h"
#include "emulation_control.h"
#include "streams.h"

namespace nanochat::emulation {

namespace {

thread_local std::vector<int> contexts;  // the last one is current; none: device 0
thread_local cudaError_t last_error = cudaSuccess;

// Contexts are numbers of devices; a handle is that plus 1.
void* context_handle(int device) { return reinterpret_cast<void*>(static_cast<uintptr_t>(device) + 1); }
int device_of(const void* context) { return static_cast<int>(reinterpret_cast<uintptr_t>(context)) - 1; }

int retain_primary(void** context, int device) {
  const std::lock_guard lock(machine().mutex);
  if (machine().n_gpus == 0) return cudaErrorNoDevice;
  if (device < 0 || device >= machine().n_gpus) return cudaErrorInvalidDevice;
  if (const cudaError_t code = take_fault("cuDevicePrimaryCtxRetain"); code != cudaSuccess) return code;
  *context = context_handle(device);
  return cudaSuccess;
}
int release_primary(int) { return cudaSuccess; }
int push_context(void* context) {
  contexts.push_back(device_of(context));
  return cudaSuccess;
}
int pop_context(void** context) {
  if (contexts.empty()) return cudaErrorDeviceUninitialized;
  *context = context_handle(contexts.back());
  contexts.pop_back();
  return cudaSuccess;
}
int get_context(void** context) {
  *context = contexts.empty() ? nullptr : context_handle(contexts.back());
  return cudaSuccess;
}
int set_context(void* context) {
  if (!contexts.empty()) contexts.pop_back();
  if (context != nullptr) contexts.push_back(device_of(context));
  return cudaSuccess;
}

template <class Function>
void* address_of(Function* function) {
  return reinterpret_cast<void*>(function);
}

void describe(cudaDeviceProp& p) {
  p = {};
  std::snprintf(p.name, sizeof p.name, "CUDA emulator (no GPU)");
  p.totalGlobalMem = machine().memory_bytes;
  p.sharedMemPerBlock = Machine::kBlockSharedBytes;
  p.sharedMemPerBlockOptin = Machine::kBlockSharedOptinBytes;
  p.sharedMemPerMultiprocessor = 228 << 10;
  p.reservedSharedMemPerBlock = 1 << 10;
  p.regsPerBlock = p.regsPerMultiprocessor = 65536;
  p.warpSize = 32;
  p.maxThreadsPerBlock = 1024;
  p.maxThreadsPerMultiProcessor = 2048;
  p.maxBlocksPerMultiProcessor = 32;
  p.maxThreadsDim[0] = p.maxThreadsDim[1] = 1024;
  p.maxThreadsDim[2] = 64;
  p.maxGridSize[0] = INT32_MAX;
  p.maxGridSize[1] = p.maxGridSize[2] = 65535;
  p.major = 9;
  p.minor = 0;
  p.multiProcessorCount = 4;
  p.asyncEngineCount = 2;
  p.unifiedAddressing = 1;
  p.memoryBusWidth = 64;
  p.l2CacheSize = 1 << 20;
  p.concurrentKernels = p.streamPrioritiesSupported = 1;
}

}  // namespace

Machine& machine() {
  static Machine& only = *new Machine;
  return only;
}

int current_device() { return contexts.empty() ? 0 : contexts.back(); }

cudaError_t take_fault(const char* function) {
  std::vector<Fault>& faults = machine().faults;
  for (size_t i = 0; i < faults.size(); ++i) {
    if (faults[i].function != function || --faults[i].calls_left > 0) continue;
    const cudaError_t code = faults[i].code;
    faults.erase(faults.begin() + static_cast<ptrdiff_t>(i));
    return code;
  }
  return cudaSuccess;
}

bool is_final(cudaError_t code) {
  switch (code) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorMpsRpcFailure:
    case cudaErrorMpsClientTerminated:
    case cudaErrorExternalDevice:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

cudaError_t lose_if_final(int device, cudaError_t code) {
  if (is_final(code)) machine().gpus[device].lost = code;
  return code;
}

cudaError_t note_error(cudaError_t code) {
  if (code != cudaSuccess) last_error = code;
  return code;
}

}  // namespace nanochat::emulation

using nanochat::emulation::call;
using nanochat::emulation::machine;

const char* cudaGetErrorName(cudaError_t code) {
  switch (code) {
#define X(name, number, text) \
  case name:                  \
    return #name;
#include "cuda_errors.inc"
#undef X
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t code) {
  switch (code) {
#define X(name, number, text) \
  case name:                  \
    return text;
#include "cuda_errors.inc"
#undef X
  }
  return "unrecognized error code";
}

cudaError_t cudaPeekAtLastError() {
  const std::lock_guard lock(machine().mutex);
  const cudaError_t lost = nanochat::emulation::current_gpu().lost;
  return lost != cudaSuccess ? lost : nanochat::emulation::last_error;
}

cudaError_t cudaGetLastError() {
  const cudaError_t code = cudaPeekAtLastError();
  nanochat::emulation::last_error = cudaSuccess;
  return code;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  const std::lock_guard lock(machine().mutex);
  if (const cudaError_t code = nanochat::emulation::take_fault("cudaGetDeviceCount"); code != cudaSuccess) {
    return nanochat::emulation::note_error(code);
  }
  *count = machine().n_gpus;
  return nanochat::emulation::note_error(*count == 0 ? cudaErrorNoDevice : cudaSuccess);
}

cudaError_t cudaSetDevice(int device) {
  namespace emulation = nanochat::emulation;  // a lost context can be left
  const std::lock_guard lock(machine().mutex);
  if (const cudaError_t code = emulation::take_fault("cudaSetDevice"); code != cudaSuccess) {
    return emulation::note_error(code);
  }
  if (device < 0 || device >= machine().n_gpus) return emulation::note_error(cudaErrorInvalidDevice);
  emulation::set_context(emulation::context_handle(device));
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  return call("cudaGetDevice", [&] {
    *device = nanochat::emulation::current_device();
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return call("cudaGetDeviceProperties", [&] {
    if (device < 0 || device >= machine().n_gpus) return cudaErrorInvalidDevice;
    nanochat::emulation::describe(*properties);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return call("cudaDeviceGetAttribute", [&] {
    if (device < 0 || device >= machine().n_gpus) return cudaErrorInvalidDevice;
    cudaDeviceProp p;
    nanochat::emulation::describe(p);
    switch (attribute) {
      case cudaDevAttrMaxThreadsPerBlock:
        *value = p.maxThreadsPerBlock;
        break;
      case cudaDevAttrMaxGridDimX:
        *value = p.maxGridSize[0];
        break;
      case cudaDevAttrMaxGridDimY:
        *value = p.maxGridSize[1];
        break;
      case cudaDevAttrMaxGridDimZ:
        *value = p.maxGridSize[2];
        break;
      case cudaDevAttrMaxSharedMemoryPerBlock:
        *value = static_cast<int>(p.sharedMemPerBlock);
        break;
      case cudaDevAttrWarpSize:
        *value = p.warpSize;
        break;
      case cudaDevAttrMaxRegistersPerBlock:
        *value = p.regsPerBlock;
        break;
      case cudaDevAttrClockRate:
        *value = 1000;
        break;
      case cudaDevAttrMultiProcessorCount:
        *value = p.multiProcessorCount;
        break;
      case cudaDevAttrIntegrated:
        *value = p.integrated;
        break;
      case cudaDevAttrMemoryClockRate:
        *value = 1000;
        break;
      case cudaDevAttrGlobalMemoryBusWidth:
        *value = p.memoryBusWidth;
        break;
      case cudaDevAttrL2CacheSize:
        *value = p.l2CacheSize;
        break;
      case cudaDevAttrMaxThreadsPerMultiProcessor:
        *value = p.maxThreadsPerMultiProcessor;
        break;
      case cudaDevAttrAsyncEngineCount:
        *value = p.asyncEngineCount;
        break;
      case cudaDevAttrUnifiedAddressing:
        *value = p.unifiedAddressing;
        break;
      case cudaDevAttrComputeCapabilityMajor:
        *value = p.major;
        break;
      case cudaDevAttrComputeCapabilityMinor:
        *value = p.minor;
        break;
      case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        *value = static_cast<int>(p.sharedMemPerMultiprocessor);
        break;
      case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = static_cast<int>(p.sharedMemPerBlockOptin);
        break;
      case cudaDevAttrMemoryPoolsSupported:
        *value = 0;
        break;
      default:
        return cudaErrorInvalidValue;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int bytes, int device) {
  return call("cudaDeviceGetPCIBusId", [&] {
    if (device < 0 || device >= machine().n_gpus) return cudaErrorInvalidDevice;
    std::snprintf(text, static_cast<size_t>(bytes), "FFFF:%02X:00.0", static_cast<unsigned>(device));
    return cudaSuccess;
  });
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned,
                                             unsigned long long, cudaDriverEntryPointQueryResult* result) {
  namespace emulation = nanochat::emulation;
  const std::lock_guard lock(machine().mutex);
  if (const cudaError_t code = emulation::take_fault("cudaGetDriverEntryPointByVersion");
      code != cudaSuccess) {
    return emulation::note_error(code);
  }
  const struct {
    const char* name;
    void* function;
  } kKnown[] = {{"cuDevicePrimaryCtxRetain", emulation::address_of(emulation::retain_primary)},
                {"cuDevicePrimaryCtxRelease", emulation::address_of(emulation::release_primary)},
                {"cuCtxPushCurrent", emulation::address_of(emulation::push_context)},
                {"cuCtxPopCurrent", emulation::address_of(emulation::pop_context)},
                {"cuCtxGetCurrent", emulation::address_of(emulation::get_context)},
                {"cuCtxSetCurrent", emulation::address_of(emulation::set_context)}};
  *function = nullptr;
  for (const auto& known : kKnown) {
    if (std::strcmp(symbol, known.name) == 0) *function = known.function;
  }
  if (result != nullptr) {
    *result = *function != nullptr ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  }
  return cudaSuccess;
}

cudaError_t cudaDeviceReset() {
  namespace emulation = nanochat::emulation;
  const std::lock_guard lock(machine().mutex);
  const int device = emulation::current_device();
  emulation::drop_streams_of(device);
  emulation::free_all_of(device);
  machine().gpus[device] = {};
  return cudaSuccess;
}
