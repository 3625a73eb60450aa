// What the file that this code was loaded from knows of its own names, exported or not.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace nanochat::emulation {

std::string name_of_function(const void* address);  // demangled; its number where the file has no names

struct SharedVariable {
  unsigned char* begin;
  size_t bytes;
};
// The variables that kernels declare as __shared__.
const std::vector<SharedVariable>& shared_variables();

}  // namespace nanochat::emulation
