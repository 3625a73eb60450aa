// What the host as a device says about itself, and how its memory is kept in place.
#include <string>
#include <string_view>

#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "kernels/cpu_device.h"

namespace nanochat {

namespace {

struct Pages {
  uintptr_t first;
  size_t n_bytes;
};

uintptr_t page_bytes() {
  static const auto bytes = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

// The pages that hold nothing but these bytes.
Pages pages_within(const void* pointer, size_t n_bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(pointer);
  const uintptr_t first = (begin + page_bytes() - 1) / page_bytes() * page_bytes();
  const uintptr_t end = (begin + n_bytes) / page_bytes() * page_bytes();
  return {first, end > first ? end - first : 0};
}

std::string read_processor_name() {
  try {
    const std::string text = read_file("/proc/cpuinfo", 1 << 22);
    for (const std::string_view key : {"model name", "Model"}) {
      const size_t found = text.find(key);
      const size_t colon = found == std::string::npos ? found : text.find(':', found);
      if (colon == std::string::npos) continue;
      const size_t begin = text.find_first_not_of(" \t", colon + 1);
      return text.substr(begin, text.find('\n', begin) - begin);
    }
  } catch (const Error&) {  // it is called what its instruction set is called
  }
  return "";
}

}  // namespace

std::string processor_name() {
  static const std::string name = read_processor_name();
  return name;
}

DeviceFacts CpuDevice::facts() const {
  DeviceFacts facts;
  facts.hardware = processor_name().empty() ? isa_ : processor_name();
  return facts;
}

bool CpuDevice::is_resident(const void* pointer, size_t n_bytes) const noexcept {
  if (pointer == nullptr || n_bytes == 0) return false;
  // Asks for the first and the last page, of which there is none if the address was given back.
  const auto begin = reinterpret_cast<uintptr_t>(pointer);
  unsigned char in_memory = 0;
  const auto is_mapped = [&](uintptr_t address) {
    return ::mincore(reinterpret_cast<void*>(address / page_bytes() * page_bytes()), 1, &in_memory) == 0;
  };
  return is_mapped(begin) && is_mapped(begin + n_bytes - 1);
}

// Only pages that hold nothing else: a lock does not count how often it was taken.
bool CpuDevice::lock(const void* pointer, size_t n_bytes) noexcept {
  const Pages pages = pages_within(pointer, n_bytes);
  return pages.n_bytes == 0 || ::mlock(reinterpret_cast<void*>(pages.first), pages.n_bytes) == 0;
}

void CpuDevice::unlock(const void* pointer, size_t n_bytes) noexcept {
  const Pages pages = pages_within(pointer, n_bytes);
  if (pages.n_bytes > 0) ::munlock(reinterpret_cast<void*>(pages.first), pages.n_bytes);
}

}  // namespace nanochat
