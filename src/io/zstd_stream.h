// zstd (RFC 8878) as a stream of pieces; memory stays bounded whatever the frame's header claims.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
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

std::string compress_zstd(std::span<const std::byte> input, int level = 3);  // one frame with checksum

// The text of a file, decompressed if its name ends in .zst.
std::string read_text_file(const std::string& path, uint64_t max_bytes);

}  // namespace nanochat
