// A file without a name, for what does not fit into memory: it is gone as soon as it is closed, also when the
// process is killed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/file_door.h"

namespace nanochat {

class TemporaryFile {
 public:
  // In `folder`, which must exist and be writable. Errors (file_not_found, file_io) name the folder.
  explicit TemporaryFile(std::string folder);
  TemporaryFile(TemporaryFile&&) noexcept = default;

  void append(std::span<const std::byte> bytes);
  // As many bytes as there are from `offset`, at most into.size().
  size_t read_at(uint64_t offset, std::span<std::byte> into) const;
  uint64_t size() const { return size_; }

 private:
  std::string folder_;
  file_door::Descriptor file_;
  uint64_t size_ = 0;
};

// Where such files go unless told otherwise: /var/tmp, which is on a disk more often than /tmp, or /tmp.
std::string temporary_folder();

}  // namespace nanochat
