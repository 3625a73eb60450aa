#include "base/file.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file_door.h"

namespace nanochat {

using file_door::attempt;
using file_door::Descriptor;
using file_door::fail;

namespace {

bool has_mode(const std::string& path, mode_t wanted) {
  struct stat status = {};
  const int result = attempt("stat", path, [&] { return ::stat(path.c_str(), &status); });
  return result == 0 && (status.st_mode & S_IFMT) == wanted;
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

void make_directory(const std::string& path) {
  if (attempt("mkdir", path, [&] { return ::mkdir(path.c_str(), 0777); }) == 0) return;
  const int code = errno;
  // Somebody else may have made it, or it was there; on some mounts the answer is EROFS or EACCES even then.
  if (!directory_exists(path)) fail("make folder", path, code);
}

}  // namespace

bool file_exists(const std::string& path) { return has_mode(path, S_IFREG); }

bool directory_exists(const std::string& path) { return has_mode(path, S_IFDIR); }

std::vector<std::string> list_directory(const std::string& path) {
  Descriptor folder = file_door::open_folder(path);
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(folder.get()), &::closedir);
  if (!stream) fail("list folder", path, errno);
  folder.release();  // the stream owns it now
  std::vector<std::string> names;
  while (true) {
    errno = file_door::injected_error("readdir", path);
    const dirent* entry = errno == 0 ? ::readdir(stream.get()) : nullptr;
    if (entry == nullptr) {
      if (errno == EINTR) continue;
      if (errno != 0) fail("list folder", path, errno);
      break;
    }
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

void make_directories(const std::string& path) {
  if (path.empty()) throw Error(Status::invalid_argument).say("the path of a folder is empty");
  size_t end = 0;
  while (end != std::string::npos) {
    end = path.find('/', end + 1);
    make_directory(path.substr(0, end));
  }
}

std::string join_path(std::string_view folder, std::string_view name) {
  std::string path(folder);
  if (!path.empty() && path.back() != '/') path += '/';
  return path += name;
}

std::string file_name(std::string_view path) {
  const size_t slash = path.find_last_of('/');
  return std::string(slash == std::string_view::npos ? path : path.substr(slash + 1));
}

std::string read_file(const std::string& path, uint64_t max_bytes) {
  uint64_t size = 0;
  const Descriptor file = file_door::open_regular_file(path, size);
  const auto refuse = [&](uint64_t bytes) {
    throw Error(Status::file_io)
        .subject(path)
        .say("{}: too large: {} bytes, at most {} are read", path, bytes, max_bytes);
  };
  if (size > max_bytes) refuse(size);
  // Kernel files say size 0 and have content, and a file may grow meanwhile: read until the end is seen.
  constexpr size_t kStep = 4096;
  std::string text;
  size_t filled = 0;
  text.resize(static_cast<size_t>(size) + 1);
  while (true) {
    auto* const into = reinterpret_cast<std::byte*>(text.data()) + filled;
    const size_t want = text.size() - filled;
    const size_t got = file_door::read_fully(file.get(), path, into, want, filled);
    filled += got;
    if (filled > max_bytes) refuse(filled);
    if (got < want) break;
    text.resize(text.size() + std::max(kStep, text.size() / 2));
  }
  text.resize(filled);
  return text;
}

MappedFile::MappedFile(const std::string& path, Access access) : path_(path) {
  uint64_t size = 0;
  Descriptor file = file_door::open_regular_file(path, size);
  if (size > std::numeric_limits<size_t>::max() / 2) fail("map", path, EFBIG);
  if (size > 0) {  // a mapping of no bytes is an error of mmap, an empty file is not one of ours
    void* data = MAP_FAILED;
    const int result = attempt("mmap", path, [&] {
      data = ::mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_PRIVATE, file.get(), 0);
      return data == MAP_FAILED ? -1 : 0;
    });
    if (result < 0) fail("map", path, errno);
    // Advice only: its failure changes nothing but speed.
    ::madvise(data, static_cast<size_t>(size), access == Access::random ? MADV_RANDOM : MADV_SEQUENTIAL);
    data_ = static_cast<const std::byte*>(data);
  }
  size_ = static_cast<size_t>(size);
  descriptor_ = file.release();
}

MappedFile::~MappedFile() { close(); }

MappedFile::MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this == &other) return *this;
  close();
  path_ = std::move(other.path_);
  descriptor_ = std::exchange(other.descriptor_, -1);
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  return *this;
}

void MappedFile::close() noexcept {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  if (descriptor_ >= 0) ::close(descriptor_);
  data_ = nullptr;
  size_ = 0;
  descriptor_ = -1;
}

void MappedFile::read_at(uint64_t offset, std::span<std::byte> into) const {
  if (into.empty()) return;
  const auto refuse = [&](uint64_t size) {
    throw Error(Status::file_io)
        .subject(path_)
        .say("{}: cannot read {} bytes at byte {}: the file has {} bytes", path_, into.size(), offset, size);
  };
  if (offset > size_ || into.size() > size_ - offset) refuse(size_);
  const size_t got = file_door::read_fully(descriptor_, path_, into.data(), into.size(), offset);
  if (got < into.size()) refuse(offset + got);
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  if (path_.empty() || path_.back() == '/') {
    throw Error(Status::invalid_argument).subject(path_).say("'{}' is not the path of a file", path_);
  }
  if (directory_exists(path_)) fail("write", path_, EISDIR);
  // Short and independent of the file's own name, so that no name is too long for it. A leftover of another
  // process with the same number is stepped over.
  static std::atomic<uint64_t> counter{0};
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
  constexpr int kMaxNames = 1000;
  const std::string folder = folder_of(path_);
  for (int attempts_left = kMaxNames; descriptor_ < 0; --attempts_left) {
    const std::string name = format_text(".nanochat-{}-{}.tmp", ::getpid(), counter.fetch_add(1));
    temporary_path_ = join_path(folder, name);
    descriptor_ =
        attempt("open", temporary_path_, [&] { return ::open(temporary_path_.c_str(), kFlags, 0666); });
    const int code = errno;
    if (descriptor_ < 0 && (code != EEXIST || attempts_left == 0)) {
      fail(format_text("create a temporary file in '{}'", folder).c_str(), path_, code);
    }
  }
}

AtomicFile::~AtomicFile() {
  // Clean-up calls bypass the fault injection: their failure could not be told to anybody.
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_path_.empty()) ::unlink(temporary_path_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  if (descriptor_ < 0)
    throw Error(Status::invalid_state).subject(path_).say("{}: written after commit", path_);
  file_door::write_fully(descriptor_, path_, bytes.data(), bytes.size());
  size_ += bytes.size();
}

void AtomicFile::write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }

void AtomicFile::commit() {
  if (descriptor_ < 0) throw Error(Status::invalid_state).subject(path_).say("{}: committed twice", path_);
  // Opened before the rename, so that fewer things can fail after it.
  const Descriptor folder = file_door::open_folder(folder_of(path_));
  if (attempt("fsync", path_, [&] { return ::fsync(descriptor_); }) < 0) fail("flush", path_, errno);
  // Closed whatever the answer is: after close() fails, the descriptor is gone all the same.
  const int injected = file_door::injected_error("close", path_);
  const int closed = ::close(std::exchange(descriptor_, -1));
  if (injected != 0) fail("close", path_, injected);
  if (closed < 0 && errno != EINTR) fail("close", path_, errno);
  const int renamed =
      attempt("rename", path_, [&] { return ::rename(temporary_path_.c_str(), path_.c_str()); });
  if (renamed < 0) fail("replace", path_, errno);
  temporary_path_.clear();
  // Some file systems have no fsync for folders and say EINVAL; the rename is then as durable as it can be.
  const int flushed = attempt("fsync", path_, [&] { return ::fsync(folder.get()); });
  if (flushed < 0 && errno != EINVAL && errno != ENOTSUP) fail("flush the folder of", path_, errno);
}

void write_file(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace nanochat
