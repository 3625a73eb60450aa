#include "warm/system_info.h"

#include <charconv>
#include <optional>
#include <string>
#include <string_view>

#include <sched.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"

namespace nanochat {

namespace {

Json known(const std::optional<uint64_t>& value) { return value ? Json(*value) : Json(); }

// Cores that this process may run on.
std::optional<uint64_t> n_cpus() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (::sched_getaffinity(0, sizeof cores, &cores) == 0) return static_cast<uint64_t>(CPU_COUNT(&cores));
  const long online = ::sysconf(_SC_NPROCESSORS_ONLN);  // more cores than a cpu_set_t holds
  if (online < 1) return std::nullopt;
  return static_cast<uint64_t>(online);
}

std::optional<uint64_t> locked_memory_limit() {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  return limit.rlim_cur;
}

std::optional<uint64_t> uptime_seconds() {
  struct sysinfo info = {};
  if (::sysinfo(&info) != 0) return std::nullopt;
  return static_cast<uint64_t>(info.uptime);
}

// The second number of /proc/self/statm, in pages.
std::optional<uint64_t> resident_bytes() {
  try {
    const std::string text = read_file("/proc/self/statm", 4096);
    const size_t space = text.find(' ');
    if (space == std::string::npos) return std::nullopt;
    uint64_t pages = 0;
    const auto result = std::from_chars(text.data() + space + 1, text.data() + text.size(), pages);
    if (result.ec != std::errc()) return std::nullopt;
    return pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::optional<uint64_t> n_open_files() {
  try {
    return list_directory("/proc/self/fd").size() - 1;  // the folder itself is open meanwhile
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

Json system_info() {
  utsname names = {};
  const bool has_names = ::uname(&names) == 0;
  const auto name = [&](const char* text) { return has_names ? Json(text) : Json(); };
  // Not uname's "Linux": as the specification writes it.
  const Json os = has_names ? Json(std::string("linux ") + names.machine) : Json();
  return {{"hostname", name(names.nodename)},
          {"os", os},
          {"kernel", name(names.release)},
          {"uptime_seconds", known(uptime_seconds())},
          {"n_cpus", known(n_cpus())},
          {"pid", static_cast<int64_t>(::getpid())},
          {"rlimit_memlock", known(locked_memory_limit())},
          {"resident_bytes", known(resident_bytes())},
          {"open_files", known(n_open_files())}};
}

}  // namespace nanochat
