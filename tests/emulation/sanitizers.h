// What the emulator tells AddressSanitizer, where it is there.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define NANOCHAT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NANOCHAT_ASAN 1
#endif
#endif
#ifdef NANOCHAT_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace nanochat::emulation {

inline void poison([[maybe_unused]] const void* begin, [[maybe_unused]] size_t bytes) {
#ifdef NANOCHAT_ASAN
  __asan_poison_memory_region(begin, bytes);
#endif
}
inline void unpoison([[maybe_unused]] const void* begin, [[maybe_unused]] size_t bytes) {
#ifdef NANOCHAT_ASAN
  __asan_unpoison_memory_region(begin, bytes);
#endif
}

// `report` is called after AddressSanitizer's own words on what it has found.
inline void before_sanitizer_ends([[maybe_unused]] void (*report)()) {
#ifdef NANOCHAT_ASAN
  __sanitizer_set_death_callback(report);
#endif
}

}  // namespace nanochat::emulation
