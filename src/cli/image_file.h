// Pictures from files: PNG and JPEG.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nanochat::cli {

struct Picture {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> rgb;  // [height, width, 3]
};

// Which of the two a file is, its first bytes say. Transparency is dropped: the colours stay. Throws Failure
// naming the file and what is wrong: no picture, a damaged one, more than 100,000,000 pixels.
Picture read_picture(const std::string& path);

}  // namespace nanochat::cli
