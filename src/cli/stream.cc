#include "stream.h"

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failure.h"
#include "interrupt.h"

namespace nanochat::cli {
namespace {

constexpr size_t kChunkBytes = 1 << 16;
const char* const kStandardStream = "-";

std::string reason() { return std::strerror(errno); }

// False with errno set on failure.
bool write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno != EINTR) return false;
      throw_if_interrupted();
      continue;
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

// 0 at the end.
size_t read_some(int file, const std::string& name, char* bytes, size_t capacity) {
  for (;;) {
    const ssize_t n = ::read(file, bytes, capacity);
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR) throw Failure(Exit::loading, name + ": cannot read: " + reason());
    throw_if_interrupted();
  }
}

int open_to_read(const std::string& path) {
  if (path == kStandardStream) return STDIN_FILENO;
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw Failure(Exit::loading, path + ": cannot open: " + reason());
  return file;
}

std::string display_name(const std::string& path) {
  return path == kStandardStream ? "standard input" : path;
}

bool is_regular_or_absent(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) != 0 || S_ISREG(status.st_mode);
}

// The file itself where `path` is a link to one, so that the link survives the replacement.
std::string link_target(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_symlink(path, error)) return path;
  const auto target = std::filesystem::canonical(path, error);
  return error ? path : target.string();
}

}  // namespace

void write_stdout(std::string_view bytes) {
  if (write_all(STDOUT_FILENO, bytes)) return;
  if (errno == EPIPE) throw ReaderLeft{};
  throw Failure(Exit::running, "cannot write standard output: " + reason());
}

void write_stderr(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

bool stdin_is_terminal() { return ::isatty(STDIN_FILENO) == 1; }
bool stdout_is_terminal() { return ::isatty(STDOUT_FILENO) == 1; }
bool stderr_is_terminal() { return ::isatty(STDERR_FILENO) == 1; }

LineReader::LineReader(const std::string& path) : name_(display_name(path)), file_(open_to_read(path)) {}

LineReader::~LineReader() {
  if (file_ != STDIN_FILENO) ::close(file_);
}

bool LineReader::fill() {
  buffer_.erase(0, begin_);
  begin_ = 0;
  const size_t held = buffer_.size();
  buffer_.resize(held + kChunkBytes);
  size_t n = 0;
  try {
    n = read_some(file_, name_, buffer_.data() + held, kChunkBytes);
  } catch (...) {
    buffer_.resize(held);
    throw;
  }
  buffer_.resize(held + n);
  bytes_read_ += n;
  ended_ = n == 0;
  return !ended_;
}

bool LineReader::next(std::string_view& line) {
  size_t searched = begin_;
  for (;;) {
    const size_t end = buffer_.find('\n', searched);
    if (end != std::string::npos) {
      line = std::string_view(buffer_).substr(begin_, end - begin_);
      begin_ = end + 1;
      return true;
    }
    searched = buffer_.size() - begin_;  // fill() moves what is held to the front
    if (ended_ || !fill()) break;
  }
  if (begin_ == buffer_.size()) return false;
  line = std::string_view(buffer_).substr(begin_);
  begin_ = buffer_.size();
  return true;
}

std::string read_whole(const std::string& path) {
  struct Closer {
    int file;
    ~Closer() {
      if (file != STDIN_FILENO) ::close(file);
    }
  };
  const Closer closer{open_to_read(path)};
  std::string bytes;
  size_t held = 0;
  for (;;) {
    bytes.resize(held + kChunkBytes + held / 2);
    const size_t n = read_some(closer.file, display_name(path), bytes.data() + held, bytes.size() - held);
    held += n;
    if (n == 0) break;
  }
  bytes.resize(held);
  return bytes;
}

OutputFile::OutputFile(const std::string& path) : path_(path), file_(STDOUT_FILENO) {
  if (path == kStandardStream) return;
  if (!is_regular_or_absent(path)) {
    file_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (file_ < 0) fail("open");
    return;
  }
  path_ = link_target(path);
  temporary_ = path_ + ".XXXXXX";
  file_ = ::mkostemp(temporary_.data(), O_CLOEXEC);
  if (file_ < 0) {
    temporary_.clear();
    fail("create");
  }
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::fchmod(file_, 0666 & ~mask);
}

OutputFile::~OutputFile() {
  if (file_ >= 0 && file_ != STDOUT_FILENO) ::close(file_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void OutputFile::fail(const char* action) const {
  throw Failure(Exit::running, path_ + ": cannot " + action + ": " + reason());
}

void OutputFile::write(std::string_view bytes) {
  if (path_ == kStandardStream) return write_stdout(bytes);
  if (!write_all(file_, bytes)) fail("write");
}

void OutputFile::commit() {
  if (path_ == kStandardStream) return;
  if (!temporary_.empty() && ::fsync(file_) != 0) fail("write");
  const int file = file_;
  file_ = -1;
  if (::close(file) != 0) fail("write");
  if (temporary_.empty()) return;
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("replace");
  temporary_.clear();
}

}  // namespace nanochat::cli
