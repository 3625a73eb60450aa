// Every allocation of this program, counted, and failed on demand. Included by one file of a program: it
// defines operator new.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

// Counts down over operator new and the runtime's allocator together; the call that reaches zero fails.
std::atomic<int64_t> countdown{-1};
std::atomic<int64_t> live_blocks{0};

bool must_fail() {
  return countdown.load(std::memory_order_relaxed) >= 0 &&
         countdown.fetch_sub(1, std::memory_order_relaxed) == 0;
}

void* take(size_t bytes, size_t alignment) {
  if (must_fail()) return nullptr;
  void* pointer = nullptr;
  if (posix_memalign(&pointer, alignment < sizeof(void*) ? sizeof(void*) : alignment, bytes) != 0)
    return nullptr;
  live_blocks.fetch_add(1, std::memory_order_relaxed);
  return pointer;
}

void give_back(void* pointer) {
  if (pointer != nullptr) live_blocks.fetch_sub(1, std::memory_order_relaxed);
  std::free(pointer);
}

}  // namespace

void* operator new(size_t bytes) {
  void* pointer = take(bytes, alignof(std::max_align_t));
  if (pointer == nullptr) throw std::bad_alloc();
  return pointer;
}
void* operator new(size_t bytes, std::align_val_t alignment) {
  void* pointer = take(bytes, static_cast<size_t>(alignment));
  if (pointer == nullptr) throw std::bad_alloc();
  return pointer;
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return take(bytes, alignof(std::max_align_t));
}
void operator delete(void* pointer) noexcept { give_back(pointer); }
void operator delete(void* pointer, size_t) noexcept { give_back(pointer); }
void operator delete(void* pointer, std::align_val_t) noexcept { give_back(pointer); }
void operator delete(void* pointer, size_t, std::align_val_t) noexcept { give_back(pointer); }
