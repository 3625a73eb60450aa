// The bytes of a file from its beginning to its end, decompressed if its name ends in .zst. Reads through a
// small buffer: nothing is mapped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file_door.h"
#include "io/zstd_stream.h"

namespace nanochat {

class TextSource {
 public:
  explicit TextSource(std::string path);

  // How many bytes came: less than into.size() only at the end. Throws file_io, format_invalid naming file
  // and offset.
  size_t read(std::span<char> into);
  uint64_t bytes_read() const { return offset_; }  // of the file as it is stored

 private:
  bool refill();

  std::string path_;
  uint64_t file_bytes_ = 0;
  file_door::Descriptor file_;
  uint64_t offset_ = 0;
  std::optional<ZstdDecoder> decoder_;
  std::vector<std::byte> stored_;
  std::span<const std::byte> unread_;  // of stored_
};

}  // namespace nanochat
