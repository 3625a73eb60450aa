// zstd (RFC 8878) as a stream of pieces; memory stays bounded whatever the frame's header claims.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace nanochat {

// Calls `sink` with decoded pieces, in order. Several frames one after another are one stream. Throws
// format_invalid (corrupt, truncated, window above 128 MiB) naming `name` and the input offset; stops with
// out_of_range once more than max_bytes would be produced.
void decompress_zstd(std::span<const std::byte> input, std::string_view name, uint64_t max_bytes,
                     const std::function<void(std::span<const std::byte>)>& sink);
std::string decompress_zstd(std::span<const std::byte> input, std::string_view name, uint64_t max_bytes);

// The same, pulled by the reader instead of pushed.
class ZstdDecoder {
 public:
  ZstdDecoder(std::string_view name, uint64_t input_bytes);  // of the whole input, for the messages
  ~ZstdDecoder();
  ZstdDecoder(ZstdDecoder&&) noexcept;

  // Takes bytes from the front of `input` and gives how many came out: less than out.size() only when all of
  // `input` is used up.
  size_t decode(std::span<const std::byte>& input, std::span<std::byte> out);
  uint64_t offset() const;  // in the input
  void finish() const;      // throws if the input ended inside a frame, or before one

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string compress_zstd(std::span<const std::byte> input, int level = 3);  // one frame with checksum

// The text of a file, decompressed if its name ends in .zst.
std::string read_text_file(const std::string& path, uint64_t max_bytes);

}  // namespace nanochat
