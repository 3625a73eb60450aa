#include "device/cuda_device.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "device/argument_ring.h"
#include "device/cuda_error.h"
#include "device/fast_products.h"
#include "device/recording.h"
#include "device/upload.h"
#include "stems.h"

namespace nanochat::cuda {

namespace {

// Launches that may wait in the stream: a pass that is cancelled ends within this many kernels.
constexpr uint64_t kLaunchesPerMark = 32;
constexpr size_t kMarks = 4;

constexpr size_t kMostRecordings = 32;

thread_local Recording* recording_of_thread = nullptr;

Kernels cuda_kernels() {
  return {.pack_rows = pack_rows,
          .unpack_rows = unpack_rows,
          .find_not_finite = find_not_finite,
          .hash_pieces = hash_pieces,
          .embed = embed,
          .linear = linear,
          .rms_norm = rms_norm,
          .layer_norm = layer_norm,
          .rope = rope,
          .kv_append = kv_append,
          .attention = attention,
          .pool_rows = pool_rows,
          .relu2 = relu2,
          .swiglu = swiglu,
          .scale_add = scale_add,
          .multiply = multiply,
          .bias_activation = bias_activation,
          .softcap = softcap,
          .softmax_stats = softmax_stats,
          .select_top = select_top,
          .value_embedding = value_embedding,
          .smear = smear,
          .measure_rates = measure_rates};
}

std::vector<const void*>& all_kernels() {
  static std::vector<const void*> kernels;
  return kernels;
}

}  // namespace

struct CudaDevice::Bounce {
  static constexpr size_t kBytes = size_t{1} << 20;
  PinnedBytes halves[2] = {PinnedBytes(kBytes), PinnedBytes(kBytes)};
  Event done[2];
  Event marks[kMarks];
};

KernelList::KernelList(std::initializer_list<const void*> kernels) {
  all_kernels().insert(all_kernels().end(), kernels.begin(), kernels.end());
}

void KernelList::load_all(CudaDevice& device) {
  const UseContext use(*device.context());
  for (const void* kernel : all_kernels()) {
    cudaFuncAttributes attributes{};
    device.check(cudaFuncGetAttributes(&attributes, kernel), "loading of kernels");
  }
}

CudaDevice::CudaDevice(int index, std::shared_ptr<const Context> context, std::shared_ptr<Memory> memory,
                       std::shared_ptr<Device> host, std::shared_ptr<ThreadPool> threads,
                       std::shared_ptr<Log> log)
    : Device(std::move(memory), std::move(threads), std::move(log)),
      index_(index),
      context_(std::move(context)),
      host_(std::move(host)),
      name_(format_text("cuda:{}", index)),
      kernels_(cuda_kernels()),
      lanes_(std::make_unique<UploadLanes>()),
      rings_(std::make_shared<ArgumentRings>()) {
  const UseContext use(*context_);
  cudaDeviceProp properties{};
  require_init("cudaGetDeviceProperties", cudaGetDeviceProperties(&properties, index));
  hardware_ = properties.name;
  capability_major_ = properties.major;
  capability_minor_ = properties.minor;
  limits_ = {properties.multiProcessorCount, properties.major * 10 + properties.minor,
             properties.sharedMemPerBlockOptin};
  isa_ = format_text("sm_{}", limits_.capability);
  overlaps_ = limits_.capability >= 90;
  require_init("cudaStreamCreateWithFlags", cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
               hardware_);
  bounce_ = std::make_unique<Bounce>();
  KernelList::load_all(*this);
}

CudaDevice::~CudaDevice() {
  const UseContext use(*context_);
  cudaStreamSynchronize(stream_);
  recordings_.clear();
  fast_products_.reset();
  lanes_.reset();
  rings_.reset();
  bounce_.reset();
  cudaStreamDestroy(stream_);
  cudaGetLastError();
}

void CudaDevice::use_fast_products() {
  fast_products_ = make_fast_products(*this);
  if (fast_products_ != nullptr) return;
  log().write(LogLevel::warning, "{}: cuBLASLt cannot be opened: products stay the reproducible ones", name_);
}

FastProducts* CudaDevice::fast_products() const {
  const bool is_recording = recording_of_thread != nullptr && recording_of_thread->is_open();
  return is_recording ? nullptr : fast_products_.get();
}

void CudaDevice::refuse_lost() {
  const void* kernel = last_kernel_.load();
  const char* kernel_name = nullptr;
  if (kernel == nullptr || cudaFuncGetName(&kernel_name, kernel) != cudaSuccess) kernel_name = nullptr;
  cudaGetLastError();
  const std::string last = kernel_name == nullptr
                               ? std::string(last_operation_.load())
                               : format_text("{}, after kernel {}", last_operation_.load(), kernel_name);
  const std::lock_guard lock(lost_mutex_);
  throw Error(Status::cuda_context_lost)
      .subject(name_)
      .field("reason", lost_reason_)
      .field("last_successful_op", last)
      .hint("free everything of this runtime, look at the driver's log (dmesg, nvidia-smi -q), start anew")
      .say("CUDA context lost: {}", lost_reason_);
}

void CudaDevice::check(cudaError_t code, const char* operation) {
  if (code == cudaSuccess) {
    if (!is_lost_.load(std::memory_order_relaxed))
      last_operation_.store(operation, std::memory_order_relaxed);
    return;
  }
  cudaGetLastError();
  if (is_lost_.load()) refuse_lost();
  if (is_context_lost(code)) {
    {
      const std::lock_guard lock(lost_mutex_);
      if (!is_lost_.load()) {
        lost_reason_ = reason_of(operation, code);
        is_lost_.store(true);
        log().write(LogLevel::error, "{}: CUDA context lost: {}", name_, lost_reason_);
      }
    }
    refuse_lost();
  }
  throw Error(code == cudaErrorMemoryAllocation ? Status::out_of_memory : Status::internal)
      .subject(name_)
      .os_code(static_cast<int>(code))
      .field("cuda_error", reason_of(operation, code))
      .say("{}: {}", name_, reason_of(operation, code));
}

// No more than it asks for: with what a kernel has as static variables, the whole would be too much.
void CudaDevice::allow_shared(const void* kernel, size_t bytes) {
  constexpr size_t kUnasked = 48 * 1024;
  if (bytes <= kUnasked) return;
  const std::lock_guard lock(shared_mutex_);
  size_t& allowed = shared_bytes_[kernel];
  if (bytes <= allowed) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
        "cudaFuncSetAttribute");
  allowed = bytes;
}

void CudaDevice::launch_in(cudaStream_t stream, const KernelCall& call) {
  if (is_lost_.load(std::memory_order_relaxed)) refuse_lost();
  allow_shared(call.kernel, call.shape.shared_bytes);
  cudaLaunchConfig_t config{};
  config.gridDim = call.shape.grid;
  config.blockDim = call.shape.block;
  config.dynamicSmemBytes = call.shape.shared_bytes;
  config.stream = stream;
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &overlap;
  config.numAttrs = overlaps_.load(std::memory_order_relaxed) ? 1 : 0;
  check(cudaLaunchKernelExC(&config, call.kernel, call.arguments), "launch of a kernel");
  last_kernel_.store(call.kernel, std::memory_order_relaxed);
}

void CudaDevice::enqueue(const KernelCall& call) {
  if (recording_of_thread != nullptr && recording_of_thread->is_open()) return recording_of_thread->add(call);
  const UseContext use(*context_);
  launch_in(stream_, call);
  throttle();
}

// Several threads may come here: a mark that one of them passes twice only makes it wait less.
void CudaDevice::throttle() {
  const uint64_t n = n_launches_.fetch_add(1, std::memory_order_relaxed) + 1;
  if (n % kLaunchesPerMark != 0) return;
  const uint64_t mark = n / kLaunchesPerMark;
  record(bounce_->marks[mark % kMarks].get());
  if (mark + 1 >= kMarks) wait(bounce_->marks[(mark + 1) % kMarks].get());
}

void CudaDevice::copy_async(void* target, const void* source, size_t bytes, cudaMemcpyKind kind) {
  check(cudaMemcpyAsync(target, source, bytes, kind, stream_), "copy");
}

const void* CudaDevice::stage_bytes(const void* source, size_t bytes) {
  if (bytes == 0) return nullptr;
  if (recording_of_thread != nullptr && recording_of_thread->is_open()) {
    const void* const staged = recording_of_thread->stage(source, bytes);
    if (staged != nullptr) return staged;  // else it was too much for a recording
  }
  const UseContext use(*context_);
  return rings_->of_this_thread(*this, bytes).stage(*this, source, bytes);
}

// Several threads copy at once, each in a lane of its own.
void CudaDevice::copy_to_device(void* target, const void* source, size_t bytes) {
  if (bytes == 0) return;
  if (recording_of_thread != nullptr) recording_of_thread->spill();
  if (is_lost_.load(std::memory_order_relaxed)) refuse_lost();
  Upload upload(*this);
  upload.begin_after(stream_);
  for (size_t begin = 0; begin < bytes; begin += upload.capacity()) {
    const size_t n = std::min(upload.capacity(), bytes - begin);
    std::memcpy(upload.host(), static_cast<const std::byte*>(source) + begin, n);
    upload.send_to(static_cast<std::byte*>(target) + begin, n);
  }
  upload.end_before(stream_);
}

// One half is read by the host while the GPU fills the other.
void CudaDevice::copy_to_host(void* target, const void* source, size_t bytes) {
  const UseContext use(*context_);
  if (recording_of_thread != nullptr) recording_of_thread->spill();
  const std::lock_guard lock(bounce_mutex_);
  const auto request = [&](size_t begin, size_t half) {
    if (begin >= bytes) return;
    copy_async(bounce_->halves[half].data(), static_cast<const std::byte*>(source) + begin,
               std::min(Bounce::kBytes, bytes - begin), cudaMemcpyDeviceToHost);
    record(bounce_->done[half].get());
  };
  request(0, 0);
  for (size_t begin = 0, half = 0; begin < bytes; begin += Bounce::kBytes, half = 1 - half) {
    request(begin + Bounce::kBytes, 1 - half);
    wait(bounce_->done[half].get());
    std::memcpy(static_cast<std::byte*>(target) + begin, bounce_->halves[half].data(),
                std::min(Bounce::kBytes, bytes - begin));
  }
}

void CudaDevice::synchronize() {
  const UseContext use(*context_);
  if (recording_of_thread != nullptr) recording_of_thread->spill();
  if (is_lost_.load(std::memory_order_relaxed)) refuse_lost();
  check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
}

// nullptr: another thread is in it, or it never was worth it.
Recording* CudaDevice::open_recording(uint64_t key) {
  const std::lock_guard lock(recordings_mutex_);
  auto found = recordings_.find(key);
  if (found == recordings_.end()) {
    if (recordings_.size() >= kMostRecordings) {
      const auto oldest = std::ranges::min_element(recordings_, {}, [](const auto& entry) {
        return entry.second->in_use ? UINT64_MAX : entry.second->last_use;
      });
      if (oldest->second->in_use) return nullptr;
      recordings_.erase(oldest);
    }
    found = recordings_.emplace(key, std::make_unique<Recording>(*this)).first;
  }
  Recording& recording = *found->second;
  if (recording.in_use || !recording.is_worthwhile()) return nullptr;
  recording.in_use = true;
  recording.last_use = ++n_recorded_;
  return &recording;
}

void CudaDevice::run_recorded(uint64_t key, const std::function<void()>& body) {
  const UseContext use(*context_);
  if (is_lost_.load(std::memory_order_relaxed)) refuse_lost();
  Recording* const recording = recording_of_thread == nullptr ? open_recording(key) : nullptr;
  if (recording == nullptr) return body();
  const auto close = [&] {
    recording_of_thread = nullptr;
    const std::lock_guard lock(recordings_mutex_);
    recording->in_use = false;
  };
  try {
    recording->begin();
    recording_of_thread = recording;
    body();
    recording->finish();
  } catch (...) {
    recording->abandon();
    close();
    throw;
  }
  close();
}

void CudaDevice::stop_overlapping(const std::string& reason) {
  overlaps_ = false;
  log().write(LogLevel::warning, "{}: kernels are no longer started early: {}", name_, reason);
}

Scratch::~Scratch() {
  if (recording_of_thread != nullptr && recording_of_thread->is_open()) {
    recording_of_thread->keep(std::move(block_));
  }
}

}  // namespace nanochat::cuda
