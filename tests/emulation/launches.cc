#include "launches.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include <sys/mman.h>

#include "block_runner.h"
#include "emulated_memory.h"
#include "machine.h"
#include "module_symbols.h"
#include "sanitizers.h"
#include "streams.h"

namespace nanochat::emulation {

unsigned char* launch_shared = nullptr;

namespace {

constexpr size_t kSharedAlignment = 128;
constexpr int kUnwritten = 0xff;

struct Registry {
  std::mutex mutex;
  std::map<const void*, const KernelFacts*> kernels;
};
Registry& registry() {
  static Registry& known = *new Registry;
  return known;
}

size_t round_up_to(size_t bytes, size_t step) { return (bytes + step - 1) / step * step; }

bool is_shape_possible(const LaunchRequest& request) {
  const dim3 &grid = request.grid, &block = request.block;
  const auto none = [](const dim3& v) { return v.x == 0 || v.y == 0 || v.z == 0; };
  if (none(grid) || none(block)) return false;
  if (grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535) return false;
  return block.x <= 1024 && block.y <= 1024 && block.z <= 64 && uint64_t{block.x} * block.y * block.z <= 1024;
}

// --- arguments -------------------------------------------------------------------------------------------

bool is_mapped_on_host(uintptr_t address) {
  constexpr uintptr_t kPage = 4096;
  unsigned char state = 0;
  // Programs, libraries, heap and stack all lie up there; lower, AddressSanitizer has maps of its own.
  constexpr uintptr_t kLowest = uintptr_t{0x5000} << 32, kEnd = uintptr_t{1} << 47;
  return address >= kLowest && address < kEnd &&
         mincore(reinterpret_cast<void*>(address / kPage * kPage), 1, &state) == 0;
}

bool report_pointer(const Launch& launch, size_t argument, const void* pointer, const char* why) {
  std::fprintf(stderr, "CUDA emulator: kernel %s: argument %zu, %p, %s\n",
               name_of_function(reinterpret_cast<const void*>(launch.kernel)).c_str(), argument, pointer,
               why);
  return false;
}

// Whether the pointers are of the device's live memory, as far as types tell which arguments are pointers.
bool check_arguments(const Launch& launch, int device) {
  for (size_t i = 0; i < launch.facts->n_arguments; ++i) {
    const ArgumentKind kind = launch.facts->argument_kinds[i];
    if (kind == ArgumentKind::number) continue;
    const size_t bytes = launch.facts->argument_bytes[i];
    for (size_t at = 0; at + sizeof(void*) <= bytes; at += sizeof(void*)) {
      void* pointer = nullptr;
      std::memcpy(&pointer, launch.bytes.data() + launch.offsets[i] + at, sizeof pointer);
      if (pointer == nullptr) continue;
      const MemoryRange* const range = find_device(pointer, 0);
      if (range != nullptr && range->device != device) {
        return report_pointer(launch, i, pointer, "is memory of another device");
      }
      if (range != nullptr) continue;
      if (kind == ArgumentKind::pointer) return report_pointer(launch, i, pointer, "is not device memory");
      // A number of the structure may look like an address, but hardly one that is in use.
      if (is_mapped_on_host(reinterpret_cast<uintptr_t>(pointer))) {
        return report_pointer(launch, i, pointer, "has an address of the host in it");
      }
    }
  }
  return true;
}

// --- shared memory ---------------------------------------------------------------------------------------

bool is_written(const SharedVariable& variable) {
  return std::any_of(variable.begin, variable.begin + variable.bytes,
                     [](unsigned char byte) { return byte != kUnwritten; });
}

void erase(const std::vector<SharedVariable>& variables) {
  for (const SharedVariable& variable : variables) std::memset(variable.begin, kUnwritten, variable.bytes);
}

// Static shared variables belong to code, not to kernels: a kernel's are those that its first block writes.
class StaticShared {
 public:
  explicit StaticShared(AnyKernel kernel) : own_(by_kernel()[reinterpret_cast<const void*>(kernel)]) {}
  void before_block() { erase(own_.is_known ? own_.variables : shared_variables()); }
  void after_block() {
    if (own_.is_known) return;
    own_.is_known = true;
    for (const SharedVariable& variable : shared_variables()) {
      if (is_written(variable)) own_.variables.push_back(variable);
    }
  }

 private:
  struct Own {
    bool is_known = false;
    std::vector<SharedVariable> variables;
  };
  static std::map<const void*, Own>& by_kernel() {
    static auto& known = *new std::map<const void*, Own>;
    return known;
  }
  Own& own_;
};

// Ends where the block's shared memory ends, so that what lies behind is found: by a page without access, or
// by AddressSanitizer, which knows the size.
class LaunchShared {
 public:
  explicit LaunchShared(size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    const size_t payload = round_up_to(bytes, kSharedAlignment);
    mapping_bytes_ = round_up_to(payload, kPage) + kPage;
    mapping_ = mmap(nullptr, mapping_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping_ == MAP_FAILED) {
      std::fprintf(stderr, "CUDA emulator: no memory for %zu bytes of shared memory\n", bytes);
      std::abort();
    }
    auto* const guard = static_cast<unsigned char*>(mapping_) + mapping_bytes_ - kPage;
    mprotect(guard, kPage, PROT_NONE);
    launch_shared = guard - payload;
    poison(mapping_, static_cast<size_t>(launch_shared - static_cast<unsigned char*>(mapping_)));
    poison(launch_shared + bytes, payload - bytes);
  }
  ~LaunchShared() {
    if (bytes_ == 0) return;
    unpoison(mapping_, mapping_bytes_);
    munmap(mapping_, mapping_bytes_);
    launch_shared = nullptr;
  }
  LaunchShared(const LaunchShared&) = delete;
  LaunchShared& operator=(const LaunchShared&) = delete;
  void before_block() const {
    if (bytes_ > 0) std::memset(launch_shared, kUnwritten, bytes_);
  }

 private:
  static constexpr size_t kPage = 4096;
  size_t bytes_, mapping_bytes_ = 0;
  void* mapping_ = nullptr;
};

uint3 block_at(uint64_t number, const dim3& grid) {
  return {static_cast<unsigned>(number % grid.x), static_cast<unsigned>(number / grid.x % grid.y),
          static_cast<unsigned>(number / grid.x / grid.y)};
}

}  // namespace

const void* register_kernel(AnyKernel kernel, const KernelFacts* facts) {
  const auto* const handle = reinterpret_cast<const void*>(kernel);
  const std::lock_guard lock(registry().mutex);
  registry().kernels.emplace(handle, facts);
  return handle;
}

const KernelFacts* find_kernel(const void* handle) {
  const std::lock_guard lock(registry().mutex);
  const auto found = registry().kernels.find(handle);
  return found == registry().kernels.end() ? nullptr : found->second;
}

cudaError_t make_launch(const LaunchRequest& request, int device, Launch& launch) {
  const KernelFacts* const facts = find_kernel(request.kernel);
  if (facts == nullptr) return cudaErrorInvalidDeviceFunction;
  if (!is_shape_possible(request)) return cudaErrorInvalidConfiguration;
  const auto& limits = machine().gpus[device].shared_limits;
  const auto raised = limits.find(request.kernel);
  const size_t most = raised == limits.end() ? Machine::kBlockSharedBytes
                                             : std::max<size_t>(Machine::kBlockSharedBytes, raised->second);
  if (request.shared_bytes > most) return cudaErrorInvalidValue;
  launch = {facts,
            reinterpret_cast<AnyKernel>(const_cast<void*>(request.kernel)),
            request.grid,
            request.block,
            request.shared_bytes,
            request.may_begin_early,
            {},
            {}};
  for (size_t i = 0; i < facts->n_arguments; ++i) {
    const size_t offset = round_up_to(launch.bytes.size(), 16);
    launch.bytes.resize(offset + facts->argument_bytes[i]);
    std::memcpy(launch.bytes.data() + offset, request.arguments[i], facts->argument_bytes[i]);
    launch.offsets.push_back(offset);
  }
  return cudaSuccess;
}

// Threads in ascending and descending order in turn, and blocks in ascending and descending order two times
// each: what does not wait where it must gets different results.
cudaError_t run_launch(Launch& launch, int device) {
  if (const cudaError_t code = take_fault("kernel"); code != cudaSuccess) return code;
  if (!check_arguments(launch, device)) return cudaErrorIllegalAddress;
  const uint64_t n = machine().n_kernels_run++;
  const Order order = n % 2 == 0 ? Order::ascending : Order::descending;
  const bool last_block_first = n / 2 % 2 == 1;
  std::vector<void*> arguments;
  for (const size_t offset : launch.offsets) arguments.push_back(launch.bytes.data() + offset);
  const KernelBody body{launch.facts->invoke, launch.kernel, arguments.data(), launch.may_begin_early};
  StaticShared static_shared(launch.kernel);
  const LaunchShared shared(launch.shared_bytes);
  const uint64_t n_blocks = uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  for (uint64_t i = 0; i < n_blocks; ++i) {
    static_shared.before_block();
    shared.before_block();
    run_block(body, block_at(last_block_first ? n_blocks - 1 - i : i, launch.grid), launch.block, launch.grid,
              order);
    static_shared.after_block();
  }
  return cudaSuccess;
}

}  // namespace nanochat::emulation

using namespace nanochat::emulation;

namespace {

cudaError_t enqueue_launch(const LaunchRequest& request, cudaStream_t handle) {
  const StreamPointer stream = find_stream(handle);
  if (!stream || stream->device != current_device()) return cudaErrorInvalidResourceHandle;
  auto launch = std::make_shared<Launch>();
  const cudaError_t code = make_launch(request, stream->device, *launch);
  if (code != cudaSuccess) return code;
  ++machine().n_launches;
  enqueue(stream, [launch, device = stream->device] { return run_launch(*launch, device); });
  return cudaSuccess;
}

}  // namespace

cudaError_t cudaLaunchKernel(const void* kernel, dim3 grid, dim3 block, void** arguments, size_t shared_bytes,
                             cudaStream_t stream) {
  return call("cudaLaunchKernel", [&] {
    return enqueue_launch({kernel, grid, block, shared_bytes, arguments, false}, stream);
  });
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* shape, const void* kernel, void** arguments) {
  return call("cudaLaunchKernelExC", [&] {
    bool may_begin_early = false;
    for (unsigned i = 0; i < shape->numAttrs; ++i) {
      if (shape->attrs[i].id == cudaLaunchAttributeProgrammaticStreamSerialization) {
        may_begin_early = shape->attrs[i].val.programmaticStreamSerializationAllowed != 0;
      }
    }
    return enqueue_launch(
        {kernel, shape->gridDim, shape->blockDim, shape->dynamicSmemBytes, arguments, may_begin_early},
        shape->stream);
  });
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  return call("cudaFuncSetAttribute", [&] {
    if (find_kernel(kernel) == nullptr) return cudaErrorInvalidDeviceFunction;
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
    if (value < 0 || static_cast<size_t>(value) > Machine::kBlockSharedOptinBytes)
      return cudaErrorInvalidValue;
    current_gpu().shared_limits[kernel] = value;
    return cudaSuccess;
  });
}

// Answers when the context is lost, too: the name is the host's.
cudaError_t cudaFuncGetName(const char** name, const void* kernel) {
  const std::lock_guard lock(machine().mutex);
  if (find_kernel(kernel) == nullptr) return note_error(cudaErrorInvalidDeviceFunction);
  static auto& names = *new std::map<const void*, std::string>;
  *name = names.try_emplace(kernel, name_of_function(kernel)).first->second.c_str();
  return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
  return call("cudaFuncGetAttributes", [&] {
    if (find_kernel(kernel) == nullptr) return cudaErrorInvalidDeviceFunction;
    *attributes = {};
    attributes->maxThreadsPerBlock = 1024;
    attributes->numRegs = 32;
    attributes->ptxVersion = attributes->binaryVersion = 90;
    const auto raised = current_gpu().shared_limits.find(kernel);
    attributes->maxDynamicSharedSizeBytes = raised == current_gpu().shared_limits.end()
                                                ? static_cast<int>(Machine::kBlockSharedBytes)
                                                : raised->second;
    return cudaSuccess;
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* kernel, int block_threads,
                                                          size_t shared_bytes) {
  return call("cudaOccupancyMaxActiveBlocksPerMultiprocessor", [&] {
    if (find_kernel(kernel) == nullptr) return cudaErrorInvalidDeviceFunction;
    if (block_threads <= 0 || block_threads > 1024) return cudaErrorInvalidValue;
    const size_t by_threads = static_cast<size_t>(2048 / block_threads);
    const size_t by_shared = (size_t{228} << 10) / (shared_bytes + 1024);
    *blocks = static_cast<int>(std::min({by_threads, by_shared, size_t{32}}));
    return cudaSuccess;
  });
}
