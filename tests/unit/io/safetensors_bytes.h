// Safetensors files put together by hand, so that they can be wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nanochat {

inline std::string length_prefix(uint64_t length) {
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(length >> (8 * i) & 0xff);
  return out;
}

inline std::string safetensors_bytes(std::string_view header, size_t data_bytes) {
  std::string out = length_prefix(header.size()) + std::string(header);
  for (size_t i = 0; i < data_bytes; ++i) out += static_cast<char>(i);
  return out;
}

}  // namespace nanochat
