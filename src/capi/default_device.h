// Which device a runtime is made on that names none.
#pragma once

#include <string>

#include "base/log.h"

namespace nanochat {

// "cuda:0" where the library was built with CUDA and finds a GPU, else "cpu"; the log says which, and why.
std::string default_device(Log& log);

}  // namespace nanochat
