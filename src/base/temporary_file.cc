#include "base/temporary_file.h"

#include <cerrno>
#include <cstdlib>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"

namespace nanochat {

using file_door::attempt;
using file_door::Descriptor;
using file_door::fail;

namespace {

bool has_no_nameless_files(int code) {
  return code == EOPNOTSUPP || code == EISDIR || code == ENOENT || code == EINVAL;
}

// Some file systems (NFS, overlays of old kernels) cannot make a file without a name: it gets one for a
// moment.
int open_and_unlink(const std::string& folder) {
  std::string name = join_path(folder, ".nanochat-XXXXXX");
  const int file = attempt("open", folder, [&] { return ::mkostemp(name.data(), O_CLOEXEC); });
  if (file >= 0) ::unlink(name.c_str());
  return file;
}

Descriptor open_nameless(const std::string& folder) {
  constexpr int kFlags = O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL;
  Descriptor file(attempt("open", folder, [&] { return ::open(folder.c_str(), kFlags, 0600); }));
  if (file.get() >= 0) return file;
  if (!has_no_nameless_files(errno)) fail("create a temporary file in", folder, errno);
  Descriptor named(open_and_unlink(folder));
  if (named.get() < 0) fail("create a temporary file in", folder, errno);
  return named;
}

}  // namespace

TemporaryFile::TemporaryFile(std::string folder)
    : folder_(std::move(folder)), file_(open_nameless(folder_)) {}

void TemporaryFile::append(std::span<const std::byte> bytes) {
  file_door::write_fully(file_.get(), folder_, bytes.data(), bytes.size());
  size_ += bytes.size();
}

size_t TemporaryFile::read_at(uint64_t offset, std::span<std::byte> into) const {
  return file_door::read_fully(file_.get(), folder_, into.data(), into.size(), offset);
}

std::string temporary_folder() { return directory_exists("/var/tmp") ? "/var/tmp" : "/tmp"; }

}  // namespace nanochat
