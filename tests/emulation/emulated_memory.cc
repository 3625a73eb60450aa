#include "emulated_memory.h"

#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <vector>

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "block_runner.h"
#include "machine.h"
#include "sanitizers.h"

namespace nanochat::emulation {

namespace {

constexpr size_t kPage = 4096;
constexpr size_t kAlignment = 256;                // of cudaMalloc
constexpr size_t kMostFilled = size_t{64} << 20;  // more would take long and fill the host's memory
constexpr int kUnwritten = 0xff;                  // NaN in every format, and no valid index

size_t round_up_to(size_t bytes, size_t step) { return (bytes + step - 1) / step * step; }

struct Allocation {
  MemoryRange range;
  std::byte* mapping;
  size_t open_bytes;  // of the mapping; then the guard
  bool is_open = false;
};

struct Pinned {
  size_t bytes;
  bool is_ours;
};

struct Memories {
  std::map<const std::byte*, Allocation> device;
  std::map<const std::byte*, Pinned> pinned;
  int n_open = 0;                        // OpenMemory that live
  std::vector<const std::byte*> opened;  // what was touched meanwhile, by where it begins
};
Memories& memories() {
  static Memories& all = *new Memories;
  return all;
}

void set_open(Allocation& allocation, bool is_open) {
  mprotect(allocation.mapping, allocation.open_bytes, is_open ? PROT_READ | PROT_WRITE : PROT_NONE);
  allocation.is_open = is_open;
}

void release(const Allocation& allocation) {
  unpoison(allocation.mapping, allocation.open_bytes);
  munmap(allocation.mapping, allocation.open_bytes + kPage);
}

template <class Map>
auto last_not_after(Map& map, const std::byte* place) {
  auto next = map.upper_bound(place);
  return next == map.begin() ? map.end() : std::prev(next);
}

}  // namespace

cudaError_t allocate_device(void** pointer, size_t bytes, int device) {
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  const uint64_t used = device_bytes_in_use(device), most = machine().memory_bytes;
  if (bytes > most || used > most - bytes) return cudaErrorMemoryAllocation;
  const size_t payload = round_up_to(bytes, kAlignment), open_bytes = round_up_to(payload, kPage);
  void* const mapping = mmap(nullptr, open_bytes + kPage, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) return cudaErrorMemoryAllocation;
  auto* const first = static_cast<std::byte*>(mapping);
  mprotect(first + open_bytes, kPage, PROT_NONE);
  std::byte* const begin = first + open_bytes - payload;
  if (bytes <= kMostFilled) std::memset(begin, kUnwritten, bytes);
  poison(first, static_cast<size_t>(begin - first));
  poison(begin + bytes, payload - bytes);
  Allocation allocation{{begin, bytes, device}, first, open_bytes};
  set_open(allocation, false);
  memories().device.emplace(begin, allocation);
  *pointer = begin;
  return cudaSuccess;
}

cudaError_t free_device(void* pointer) {
  if (pointer == nullptr) return cudaSuccess;
  const auto found = memories().device.find(static_cast<std::byte*>(pointer));
  if (found == memories().device.end()) return cudaErrorInvalidValue;
  release(found->second);
  memories().device.erase(found);
  return cudaSuccess;
}

const MemoryRange* find_device(const void* pointer, size_t bytes) {
  const auto* const place = static_cast<const std::byte*>(pointer);
  const auto found = last_not_after(memories().device, place);
  if (found == memories().device.end()) return nullptr;
  const MemoryRange& range = found->second.range;
  const auto offset = static_cast<size_t>(place - range.begin);
  return offset <= range.bytes && bytes <= range.bytes - offset ? &range : nullptr;
}

uint64_t device_bytes_in_use(int device) {
  uint64_t sum = 0;
  for (const auto& [begin, allocation] : memories().device) {
    if (allocation.range.device == device) sum += allocation.range.bytes;
  }
  return sum;
}

void free_all_of(int device) {
  std::erase_if(memories().device, [&](const auto& entry) {
    if (entry.second.range.device != device) return false;
    release(entry.second);
    return true;
  });
}

cudaError_t allocate_pinned(void** pointer, size_t bytes) {
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  void* memory = nullptr;
  if (posix_memalign(&memory, kPage, bytes) != 0) return cudaErrorMemoryAllocation;
  if (bytes <= kMostFilled) std::memset(memory, kUnwritten, bytes);
  memories().pinned.emplace(static_cast<std::byte*>(memory), Pinned{bytes, true});
  *pointer = memory;
  return cudaSuccess;
}

cudaError_t free_pinned(void* pointer) {
  if (pointer == nullptr) return cudaSuccess;
  const auto found = memories().pinned.find(static_cast<std::byte*>(pointer));
  if (found == memories().pinned.end() || !found->second.is_ours) return cudaErrorInvalidValue;
  memories().pinned.erase(found);
  std::free(pointer);
  return cudaSuccess;
}

cudaError_t register_pinned(void* pointer, size_t bytes) {
  if (pointer == nullptr || bytes == 0) return cudaErrorInvalidValue;
  const auto* const place = static_cast<const std::byte*>(pointer);
  if (kind_of(place, 1) != MemoryKind::pageable) return cudaErrorHostMemoryAlreadyRegistered;
  memories().pinned.emplace(place, Pinned{bytes, false});
  return cudaSuccess;
}

cudaError_t unregister_pinned(void* pointer) {
  const auto found = memories().pinned.find(static_cast<std::byte*>(pointer));
  if (found == memories().pinned.end() || found->second.is_ours) return cudaErrorHostMemoryNotRegistered;
  memories().pinned.erase(found);
  return cudaSuccess;
}

MemoryKind kind_of(const void* pointer, size_t bytes) {
  if (find_device(pointer, bytes) != nullptr) return MemoryKind::device;
  const auto* const place = static_cast<const std::byte*>(pointer);
  const auto found = last_not_after(memories().pinned, place);
  if (found == memories().pinned.end()) return MemoryKind::pageable;
  const auto offset = static_cast<size_t>(place - found->first);
  return offset < found->second.bytes && bytes <= found->second.bytes - offset ? MemoryKind::pinned
                                                                               : MemoryKind::pageable;
}

namespace {

struct sigaction handler_before;
stack_t signal_stack_before;
sigset_t blocked_before;

// Work that runs touches an allocation for the first time: only then is it opened, because to open all of
// them for every piece of work takes longer than the work.
bool open_touched(const void* address) {
  const auto* const place = static_cast<const std::byte*>(address);
  const auto found = last_not_after(memories().device, place);
  if (found == memories().device.end()) return false;
  Allocation& allocation = found->second;
  if (allocation.is_open || place >= allocation.mapping + allocation.open_bytes) return false;
  set_open(allocation, true);
  memories().opened.push_back(found->first);
  return true;
}

// A kernel touched what is not its own: say which, then let the signal do what it would have done.
void report_fault(int signal, siginfo_t* info, void*) {
  if (open_touched(info->si_addr)) return;
  const std::string place = describe_place();
  char text[512];
  const int n = std::snprintf(text, sizeof text, "CUDA emulator: %s: invalid access to %p\n",
                              place.empty() ? "a copy" : place.c_str(), info->si_addr);
  if (n > 0)
    static_cast<void>(!write(STDERR_FILENO, text, std::min(sizeof text - 1, static_cast<size_t>(n))));
  sigaction(signal, &handler_before, nullptr);
}

void report_place() {
  const std::string place = describe_place();
  if (!place.empty()) std::fprintf(stderr, "CUDA emulator: that was %s\n", place.c_str());
}

void watch_faults() {
  before_sanitizer_ends(report_place);
  static unsigned char signal_stack[size_t{128} << 10];
  stack_t stack{};
  stack.ss_sp = signal_stack;
  stack.ss_size = sizeof signal_stack;
  sigaltstack(&stack, &signal_stack_before);
  struct sigaction action {};
  action.sa_sigaction = report_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, &handler_before);
  sigset_t fault;  // which threads of the library leave to others
  sigemptyset(&fault);
  sigaddset(&fault, SIGSEGV);
  pthread_sigmask(SIG_UNBLOCK, &fault, &blocked_before);
}

void stop_watching_faults() {
  pthread_sigmask(SIG_SETMASK, &blocked_before, nullptr);
  sigaction(SIGSEGV, &handler_before, nullptr);
  sigaltstack(&signal_stack_before, nullptr);
}

}  // namespace

OpenMemory::OpenMemory() {
  if (memories().n_open++ == 0) watch_faults();
}

OpenMemory::~OpenMemory() {
  if (--memories().n_open > 0) return;
  stop_watching_faults();
  for (const std::byte* begin : memories().opened) {
    const auto found = memories().device.find(begin);
    if (found != memories().device.end()) set_open(found->second, false);
  }
  memories().opened.clear();
}

}  // namespace nanochat::emulation
