// Inside of file.h: every system call on files, with fault injection, EINTR retried and errors named.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>

#include <sys/stat.h>

namespace nanochat::file_door {

// Asks the fault injection of set_file_fault(); 0: go on with the real call.
int injected_error(const char* call, const std::string& path);

// Throws file_not_found for ENOENT and ENOTDIR, else file_io. `verb` completes "cannot ...".
[[noreturn]] void fail(const char* verb, const std::string& path, int code);

// Runs `real` (negative result: errno is set) until it is not interrupted. Returns its result, or -1 with
// errno.
template <class F>
auto attempt(const char* call, const std::string& path, F&& real) -> decltype(real()) {
  while (true) {
    decltype(real()) result = -1;
    if (const int code = injected_error(call, path); code != 0) {
      errno = code;
    } else {
      result = real();
    }
    if (result >= 0 || errno != EINTR) return result;
  }
}

// An open file; closes itself.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : value_(other.release()) {}
  Descriptor& operator=(Descriptor&&) = delete;
  int get() const { return value_; }
  int release() {
    const int value = value_;
    value_ = -1;
    return value;
  }

 private:
  int value_ = -1;
};

Descriptor open_regular_file(const std::string& path, uint64_t& size);
Descriptor open_folder(const std::string& path);

// Reads until `bytes` are there or the file ends; returns how many were read.
size_t read_fully(int descriptor, const std::string& path, std::byte* into, size_t bytes, uint64_t offset);
void write_fully(int descriptor, const std::string& path, const std::byte* from, size_t bytes);

}  // namespace nanochat::file_door
