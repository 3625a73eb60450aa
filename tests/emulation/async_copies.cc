// Copies from device to shared memory that arrive when they are waited for, and not before.
#include <cstring>

#include "lanes.h"

namespace nanochat::emulation {

void begin_async_copy(void* shared, const void* global, bool is_there) {
  if (reinterpret_cast<uintptr_t>(shared) % 16 != 0)
    fail_kernel("copy_16() to %p: not aligned to 16", shared);
  if (is_there && reinterpret_cast<uintptr_t>(global) % 16 != 0) {
    fail_kernel("copy_16() from %p: not aligned to 16", global);
  }
  std::memset(shared, 0xff, 16);  // nobody may still read what was there
  current_lane->copies.push_back({shared, is_there ? global : nullptr, current_lane->n_committed});
}

void commit_async_copies() { ++current_lane->n_committed; }

void wait_async_copies(unsigned groups_left) {
  const unsigned n_committed = current_lane->n_committed;
  if (n_committed <= groups_left) return;
  std::vector<AsyncCopy>& copies = current_lane->copies;
  size_t n = 0;
  for (; n < copies.size() && copies[n].group < n_committed - groups_left; ++n) {
    if (copies[n].global == nullptr) {
      std::memset(copies[n].shared, 0, 16);
    } else {
      std::memcpy(copies[n].shared, copies[n].global, 16);
    }
  }
  copies.erase(copies.begin(), copies.begin() + static_cast<ptrdiff_t>(n));
}

}  // namespace nanochat::emulation
