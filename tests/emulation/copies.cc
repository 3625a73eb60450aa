// Memory of the API: allocations, and copies as work of streams.
#include <cstring>
#include <memory>
#include <vector>

#include "emulated_memory.h"
#include "machine.h"
#include "streams.h"

using namespace nanochat::emulation;

namespace {

bool agrees(cudaMemcpyKind kind, MemoryKind target, MemoryKind source) {
  const bool to_device = target == MemoryKind::device, from_device = source == MemoryKind::device;
  switch (kind) {
    case cudaMemcpyHostToHost:
      return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
      return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
      return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
      return to_device && from_device;
    case cudaMemcpyDefault:
      return true;
  }
  return false;
}

cudaError_t move_bytes(void* target, const void* source, size_t bytes) {
  std::memmove(target, source, bytes);
  return cudaSuccess;
}

// As CUDA does: pageable memory has been read when the call returns, and has been written too; pinned memory
// is touched when the stream comes to it.
cudaError_t enqueue_copy(void* target, const void* source, size_t bytes, cudaMemcpyKind kind,
                         cudaStream_t handle) {
  const StreamPointer stream = find_stream(handle);
  if (!stream) return cudaErrorInvalidResourceHandle;
  if (bytes == 0) return cudaSuccess;
  const MemoryKind to = kind_of(target, bytes), from = kind_of(source, bytes);
  if (!agrees(kind, to, from)) return cudaErrorInvalidValue;
  ++machine().n_copies;
  if (from == MemoryKind::pageable) {
    const auto* const begin = static_cast<const std::byte*>(source);
    enqueue(stream, [target, read = std::make_shared<std::vector<std::byte>>(begin, begin + bytes)] {
      return move_bytes(target, read->data(), read->size());
    });
  } else {
    enqueue(stream, [=] { return move_bytes(target, source, bytes); });
  }
  if (to == MemoryKind::pageable) run(stream);
  return cudaSuccess;
}

cudaError_t enqueue_fill(void* target, int value, size_t bytes, cudaStream_t handle) {
  const StreamPointer stream = find_stream(handle);
  if (!stream) return cudaErrorInvalidResourceHandle;
  if (bytes == 0) return cudaSuccess;
  if (kind_of(target, bytes) != MemoryKind::device) return cudaErrorInvalidValue;
  enqueue(stream, [=] {
    std::memset(target, value, bytes);
    return cudaSuccess;
  });
  return cudaSuccess;
}

}  // namespace

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return call("cudaMalloc", [&] { return allocate_device(pointer, bytes, current_device()); });
}

// Waits for the whole device, as the real one does.
cudaError_t cudaFree(void* pointer) {
  return call(
      "cudaFree",
      [&] {
        run_all_of(current_device());
        return free_device(pointer);
      },
      WhenLost::work);
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  return call("cudaMallocHost", [&] { return allocate_pinned(pointer, bytes); });
}
cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  return call("cudaHostAlloc", [&] { return allocate_pinned(pointer, bytes); });
}
cudaError_t cudaFreeHost(void* pointer) {
  return call(
      "cudaFreeHost",
      [&] {
        for (int device = 0; device < machine().n_gpus; ++device) run_all_of(device);
        return free_pinned(pointer);
      },
      WhenLost::work);
}
cudaError_t cudaHostRegister(void* pointer, size_t bytes, unsigned) {
  return call("cudaHostRegister", [&] { return register_pinned(pointer, bytes); });
}
cudaError_t cudaHostUnregister(void* pointer) {
  return call(
      "cudaHostUnregister",
      [&] {
        for (int device = 0; device < machine().n_gpus; ++device) run_all_of(device);
        return unregister_pinned(pointer);
      },
      WhenLost::work);
}

cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
  return call("cudaMemGetInfo", [&] {
    const uint64_t used = device_bytes_in_use(current_device());
    *total = machine().memory_bytes;
    *available = used < *total ? *total - used : 0;
    return cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  return call("cudaPointerGetAttributes", [&] {
    auto* const place = const_cast<void*>(pointer);
    const MemoryKind kind = kind_of(pointer, 1);
    const MemoryRange* const range = find_device(pointer, 1);
    if (range != nullptr) {
      *attributes = {cudaMemoryTypeDevice, range->device, place, nullptr};
    } else if (kind == MemoryKind::pinned) {
      *attributes = {cudaMemoryTypeHost, current_device(), place, place};
    } else {
      *attributes = {cudaMemoryTypeUnregistered, -2, nullptr, place};
    }
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return call("cudaMemcpyAsync", [&] { return enqueue_copy(target, source, bytes, kind, stream); });
}
cudaError_t cudaMemcpy(void* target, const void* source, size_t bytes, cudaMemcpyKind kind) {
  return call("cudaMemcpy", [&] {
    const cudaError_t code = enqueue_copy(target, source, bytes, kind, nullptr);
    if (code == cudaSuccess) run(find_stream(nullptr));
    return code;
  });
}
cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes, cudaStream_t stream) {
  return call("cudaMemsetAsync", [&] { return enqueue_fill(target, value, bytes, stream); });
}
cudaError_t cudaMemset(void* target, int value, size_t bytes) {
  return call("cudaMemset", [&] { return enqueue_fill(target, value, bytes, nullptr); });
}
