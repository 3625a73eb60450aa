#include "base/file_door.h"

#include <algorithm>
#include <functional>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"

namespace nanochat {

namespace {

using Fault = std::function<int(const char*, const std::string&)>;

Fault& file_fault() {
  static Fault fault;
  return fault;
}

// Linux moves at most 0x7ffff000 bytes in one call.
constexpr size_t kMaxTransfer = size_t{1} << 30;

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  if (S_ISSOCK(mode)) return "a socket";
  return "not a regular file";
}

}  // namespace

void set_file_fault(std::function<int(const char*, const std::string&)> fault) {
  file_fault() = std::move(fault);
}

namespace file_door {

int injected_error(const char* call, const std::string& path) {
  const Fault& fault = file_fault();
  return fault ? fault(call, path) : 0;
}

void fail(const char* verb, const std::string& path, int code) {
  const bool missing = code == ENOENT || code == ENOTDIR;
  throw Error(missing ? Status::file_not_found : Status::file_io)
      .subject(path)
      .os_code(code)
      .say("{}: cannot {}: {} (errno {})", path, verb, std::generic_category().message(code), code);
}

// Not through the fault injection: there is nobody to tell, and a leaked descriptor would hide the first
// error.
Descriptor::~Descriptor() {
  if (value_ >= 0) ::close(value_);
}

Descriptor open_regular_file(const std::string& path, uint64_t& size) {
  // O_NONBLOCK: opening a pipe without a writer would wait for ever. It has no effect on regular files.
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  Descriptor file(attempt("open", path, [&] { return ::open(path.c_str(), kFlags); }));
  if (file.get() < 0) fail("open", path, errno);
  struct stat status = {};
  if (attempt("fstat", path, [&] { return ::fstat(file.get(), &status); }) < 0) fail("examine", path, errno);
  if (!S_ISREG(status.st_mode)) {
    throw Error(Status::file_io)
        .subject(path)
        .os_code(S_ISDIR(status.st_mode) ? EISDIR : 0)
        .say("{}: cannot read: it is {}, expected a regular file", path, kind_of(status.st_mode));
  }
  size = static_cast<uint64_t>(status.st_size);
  return file;
}

Descriptor open_folder(const std::string& path) {
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_DIRECTORY;
  Descriptor folder(attempt("open", path, [&] { return ::open(path.c_str(), kFlags); }));
  if (folder.get() < 0) fail("open folder", path, errno);
  return folder;
}

size_t read_fully(int descriptor, const std::string& path, std::byte* into, size_t bytes, uint64_t offset) {
  size_t done = 0;
  while (done < bytes) {
    const size_t want = std::min(bytes - done, kMaxTransfer);
    const ssize_t got = attempt("read", path, [&] {
      return ::pread(descriptor, into + done, want, static_cast<off_t>(offset + done));
    });
    const int code = errno;
    if (got < 0) fail(format_text("read at byte {}", offset + done).c_str(), path, code);
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

void write_fully(int descriptor, const std::string& path, const std::byte* from, size_t bytes) {
  size_t done = 0;
  while (done < bytes) {
    const size_t want = std::min(bytes - done, kMaxTransfer);
    const ssize_t put = attempt("write", path, [&] { return ::write(descriptor, from + done, want); });
    if (put < 0) fail("write", path, errno);
    if (put == 0) fail("write", path, ENOSPC);
    done += static_cast<size_t>(put);
  }
}

}  // namespace file_door

}  // namespace nanochat
