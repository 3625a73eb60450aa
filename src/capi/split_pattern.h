// enum nanochat_pattern_values of the header.
#pragma once

#include "tokenizer/tokenizer.h"

namespace nanochat {

SplitPattern import_pattern(int32_t pattern, const char* name);

}  // namespace nanochat
