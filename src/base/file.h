// The one door to files. Errors name the path, the operation, the offset and the errno.
//
// Reads: a mapping for weights and documents. Writes: AtomicFile, which leaves either the old file or the
// complete new one, whatever fails in between (temporary name, fsync, rename, fsync of the folder).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nanochat {

bool file_exists(const std::string& path);
bool directory_exists(const std::string& path);
std::vector<std::string> list_directory(const std::string& path);  // names, sorted, without . and ..
void make_directories(const std::string& path);                    // like mkdir -p
std::string join_path(std::string_view folder, std::string_view name);
std::string file_name(std::string_view path);  // the part after the last slash

// Whole file as text or bytes; refuses more than max_bytes (file_io) before allocating.
std::string read_file(const std::string& path, uint64_t max_bytes = uint64_t{1} << 32);

// Read-only private mapping of a whole regular file. Move-only. The content can still change or shrink under
// us if another process writes the file: documented limit, as for every mapping.
class MappedFile {
 public:
  enum class Access { sequential, random };
  MappedFile() = default;
  explicit MappedFile(const std::string& path, Access access = Access::sequential);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  const std::string& path() const { return path_; }
  // Positioned read from the page cache into `into`: no page-table cost. Throws on a short read.
  void read_at(uint64_t offset, std::span<std::byte> into) const;

 private:
  void close() noexcept;
  std::string path_;
  int descriptor_ = -1;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Crash-safe replacement of one file. Nothing is visible under `path` before commit().
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();  // without commit(): removes the temporary file
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  uint64_t size() const { return size_; }
  void commit();

 private:
  std::string path_, temporary_path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

void write_file(const std::string& path, std::string_view text);  // AtomicFile in one call

// Fault injection for tests: called before every system call of this file with its name ("open", "read",
// "write", "fsync", "rename", "mmap", ...); a non-zero result is taken as its errno instead of the call.
// Set and cleared by a test while no other thread uses files. Empty in production.
void set_file_fault(std::function<int(const char* call, const std::string& path)> fault);

}  // namespace nanochat
