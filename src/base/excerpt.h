// Text that comes from a file, made fit for an error message.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace nanochat {

// At most about max_bytes of `text` as valid UTF-8: control characters as \x0a, invalid bytes as U+FFFD, the
// cut marked by "...". For names and values that a hostile file may make long, binary or both.
std::string excerpt(std::string_view text, size_t max_bytes = 120);

}  // namespace nanochat
