#include "streams.h"

#include <algorithm>
#include <vector>

#include "emulated_memory.h"
#include "emulation_control.h"
#include "machine.h"

struct CUevent_st {
  bool has_time = true;
  std::shared_ptr<CUstream_st> stream;  // of the last record; nullptr: never recorded
  uint64_t ticket = 0;
  std::shared_ptr<std::chrono::steady_clock::time_point> when;
};

namespace nanochat::emulation {

namespace {

struct Streams {
  std::vector<StreamPointer> all;     // those that were destroyed too, while they have work
  std::vector<cudaStream_t> handles;  // that may be used
  std::vector<cudaEvent_t> events;
};
Streams& streams() {
  static Streams& known = *new Streams;
  return known;
}

StreamPointer make_stream(int device, bool is_default, bool is_blocking) {
  auto stream = std::make_shared<CUstream_st>();
  stream->device = device;
  stream->is_default = is_default;
  stream->is_blocking = is_blocking;
  streams().all.push_back(stream);
  streams().handles.push_back(stream.get());
  return stream;
}

StreamPointer pointer_to(cudaStream_t handle) {
  for (const StreamPointer& stream : streams().all) {
    if (stream.get() == handle) return stream;
  }
  return nullptr;
}

void await(CUstream_st& stream, const StreamPointer& awaited, uint64_t ticket) {
  if (awaited.get() == &stream || awaited->n_done >= ticket) return;
  stream.works.push_back({nullptr, awaited, ticket});
  ++stream.n_enqueued;
}

// The default stream and those that are not cudaStreamNonBlocking wait for each other.
void await_by_default(CUstream_st& stream) {
  for (const StreamPointer& other : streams().all) {
    if (other->device != stream.device || other.get() == &stream) continue;
    const bool waits = stream.is_default ? other->is_blocking : stream.is_blocking && other->is_default;
    if (waits) await(stream, other, other->n_enqueued);
  }
}

bool knows(cudaEvent_t event) { return std::ranges::find(streams().events, event) != streams().events.end(); }

bool is_done(const CUevent_st& event) { return !event.stream || event.stream->n_done >= event.ticket; }

void forget_idle_streams() {
  std::erase_if(streams().all, [](const StreamPointer& stream) {
    return stream->works.empty() &&
           std::ranges::find(streams().handles, stream.get()) == streams().handles.end();
  });
}

}  // namespace

StreamPointer find_stream(cudaStream_t handle) {
  if (handle == nullptr) {
    Gpu& gpu = current_gpu();
    if (gpu.default_stream == nullptr) gpu.default_stream = make_stream(current_device(), true, false).get();
    return pointer_to(gpu.default_stream);
  }
  if (std::ranges::find(streams().handles, handle) == streams().handles.end()) return nullptr;
  return pointer_to(handle);
}

void enqueue(const StreamPointer& stream, std::function<cudaError_t()> work) {
  await_by_default(*stream);
  stream->works.push_back({std::move(work), nullptr, 0});
  ++stream->n_enqueued;
}

void run_until(const StreamPointer& stream, uint64_t ticket) {
  if (stream->n_done >= ticket) return;
  const OpenMemory open;
  while (stream->n_done < ticket && !stream->works.empty()) {
    const CUstream_st::Work work = std::move(stream->works.front());
    stream->works.pop_front();
    cudaError_t& lost = machine().gpus[stream->device].lost;
    if (work.awaited) {
      run_until(work.awaited, work.ticket);
    } else if (lost == cudaSuccess) {
      lost = work.run();
    }
    ++stream->n_done;
  }
}

void run_all_of(int device) {
  const std::vector<StreamPointer> all = streams().all;
  for (const StreamPointer& stream : all) {
    if (stream->device == device) run(stream);
  }
  forget_idle_streams();
}

void drop_streams_of(int device) {
  for (const StreamPointer& stream : streams().all) {
    if (stream->device != device) continue;
    stream->works.clear();
    stream->n_done = stream->n_enqueued;
    std::erase(streams().handles, stream.get());
  }
  forget_idle_streams();
}

}  // namespace nanochat::emulation

using namespace nanochat::emulation;

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* handle, unsigned flags, int) {
  return call("cudaStreamCreateWithPriority", [&] {
    if ((flags & ~static_cast<unsigned>(cudaStreamNonBlocking)) != 0) return cudaErrorInvalidValue;
    *handle = make_stream(current_device(), false, flags == cudaStreamDefault).get();
    return cudaSuccess;
  });
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* handle, unsigned flags) {
  return call("cudaStreamCreateWithFlags", [&] { return cudaStreamCreateWithPriority(handle, flags, 0); });
}
cudaError_t cudaStreamCreate(cudaStream_t* handle) {
  return call("cudaStreamCreate", [&] { return cudaStreamCreateWithPriority(handle, cudaStreamDefault, 0); });
}

// Its work is done by whoever waits for the device, or for an event of the stream.
cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  return call(
      "cudaStreamDestroy",
      [&] {
        if (std::erase(streams().handles, handle) == 0) return cudaErrorInvalidResourceHandle;
        forget_idle_streams();
        return cudaSuccess;
      },
      WhenLost::work);
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return call("cudaStreamSynchronize", [&] {
    const StreamPointer stream = find_stream(handle);
    if (!stream) return cudaErrorInvalidResourceHandle;
    run(stream);
    return machine().gpus[stream->device].lost;
  });
}

// Says that it is not done, and does it.
cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return call("cudaStreamQuery", [&] {
    const StreamPointer stream = find_stream(handle);
    if (!stream) return cudaErrorInvalidResourceHandle;
    if (stream->n_done == stream->n_enqueued) return cudaSuccess;
    run(stream);
    const cudaError_t lost = machine().gpus[stream->device].lost;
    return lost != cudaSuccess ? lost : cudaErrorNotReady;
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  return call("cudaStreamWaitEvent", [&] {
    const StreamPointer stream = find_stream(handle);
    if (!stream || !knows(event)) return cudaErrorInvalidResourceHandle;
    if (event->stream) await(*stream, event->stream, event->ticket);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  return call("cudaDeviceSynchronize", [&] {
    run_all_of(current_device());
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* handle, unsigned flags) {
  return call("cudaEventCreateWithFlags", [&] {
    *handle = new CUevent_st;
    (*handle)->has_time = (flags & cudaEventDisableTiming) == 0;
    streams().events.push_back(*handle);
    return cudaSuccess;
  });
}
cudaError_t cudaEventCreate(cudaEvent_t* handle) {
  return call("cudaEventCreate", [&] { return cudaEventCreateWithFlags(handle, cudaEventDefault); });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call(
      "cudaEventDestroy",
      [&] {
        if (std::erase(streams().events, event) == 0) return cudaErrorInvalidResourceHandle;
        delete event;
        return cudaSuccess;
      },
      WhenLost::work);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  return call("cudaEventRecord", [&] {
    const StreamPointer stream = find_stream(handle);
    if (!stream || !knows(event) || stream->device != current_device()) return cudaErrorInvalidResourceHandle;
    event->when = std::make_shared<std::chrono::steady_clock::time_point>();
    enqueue(stream, [when = event->when] {
      *when = std::chrono::steady_clock::now();
      return cudaSuccess;
    });
    event->stream = stream;
    event->ticket = stream->n_enqueued;
    return cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return call("cudaEventSynchronize", [&] {
    if (!knows(event)) return cudaErrorInvalidResourceHandle;
    if (!event->stream) return cudaSuccess;
    run_until(event->stream, event->ticket);
    return machine().gpus[event->stream->device].lost;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return call("cudaEventQuery", [&] {
    if (!knows(event)) return cudaErrorInvalidResourceHandle;
    if (is_done(*event)) return cudaSuccess;
    run_until(event->stream, event->ticket);
    const cudaError_t lost = machine().gpus[event->stream->device].lost;
    return lost != cudaSuccess ? lost : cudaErrorNotReady;
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  return call("cudaEventElapsedTime", [&] {
    if (!knows(begin) || !knows(end) || !begin->has_time || !end->has_time || !begin->stream ||
        !end->stream) {
      return cudaErrorInvalidResourceHandle;
    }
    if (!is_done(*begin) || !is_done(*end)) return cudaErrorNotReady;
    *milliseconds = std::chrono::duration<float, std::milli>(*end->when - *begin->when).count();
    return cudaSuccess;
  });
}
