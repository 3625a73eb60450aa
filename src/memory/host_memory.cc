// Host memory: malloc for small blocks, mappings on huge pages for large ones.
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <string_view>

#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/file.h"
#include "memory/memory.h"
#include "memory/raw_memory.h"

namespace nanochat {

namespace {

constexpr size_t kHugePage = size_t{2} << 20;

size_t page_bytes() {
  static const auto bytes = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

// Maps `bytes` at a multiple of `alignment`: maps more and gives the ends back.
void* map_aligned(size_t bytes, size_t alignment) {
  const size_t length = round_up(bytes, page_bytes());
  size_t reserved = 0;
  if (length < bytes || __builtin_add_overflow(length, alignment, &reserved)) return nullptr;
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS;
  void* const mapped = ::mmap(nullptr, reserved, PROT_READ | PROT_WRITE, kFlags, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto* const start = static_cast<std::byte*>(mapped);
  const size_t before = (alignment - reinterpret_cast<uintptr_t>(start) % alignment) % alignment;
  const size_t after = reserved - before - length;
  if (before > 0) ::munmap(start, before);
  if (after > 0) ::munmap(start + before + length, after);
#ifdef MADV_HUGEPAGE
  ::madvise(start + before, length, MADV_HUGEPAGE);  // a wish: small pages work too
#endif
  return start + before;
}

std::optional<uint64_t> leading_number(std::string_view text) {
  const size_t digit = text.find_first_of("0123456789");
  if (digit == std::string_view::npos) return std::nullopt;
  uint64_t value = 0;
  const auto result = std::from_chars(text.data() + digit, text.data() + text.size(), value);
  if (result.ec != std::errc()) return std::nullopt;
  return value;
}

std::optional<uint64_t> number_in(const char* path, std::string_view after) {
  try {
    const std::string text = read_file(path, 1 << 16);
    const size_t found = text.find(after);
    if (found == std::string::npos) return std::nullopt;
    return leading_number(std::string_view(text).substr(found + after.size()));
  } catch (const std::exception&) {
    return std::nullopt;  // no such kernel file here
  }
}

// A container may have less than the machine: the limits of control groups, version 2 (the word "max": none).
std::optional<uint64_t> group_limit() { return number_in("/sys/fs/cgroup/memory.max", ""); }
std::optional<uint64_t> group_use() { return number_in("/sys/fs/cgroup/memory.current", ""); }

class HostMemory final : public RawMemory {
 public:
  void* allocate(size_t bytes, size_t alignment) noexcept override {
    if (bytes >= kHugePage) return map_aligned(bytes, std::max(alignment, page_bytes()));
    return std::aligned_alloc(alignment, round_up(bytes, alignment));
  }

  void free(void* pointer, size_t bytes, size_t) noexcept override {
    if (bytes >= kHugePage) {
      ::munmap(pointer, round_up(bytes, page_bytes()));
    } else {
      std::free(pointer);
    }
  }

  uint64_t total_bytes() const override {
    const auto machine = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * page_bytes();
    return std::min(machine, group_limit().value_or(machine));
  }

  uint64_t available_bytes() const override {
    const uint64_t machine = number_in("/proc/meminfo", "MemAvailable:").value_or(0) * 1024;
    const auto limit = group_limit();
    const auto use = group_use();
    if (!limit || !use) return machine;
    return std::min(machine, *limit - std::min(*limit, *use));
  }
};

}  // namespace

std::shared_ptr<RawMemory> make_host_memory() { return std::make_shared<HostMemory>(); }

}  // namespace nanochat
