// Guesses what comes next from what came before: most text repeats itself.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace nanochat {

// Appends n tokens to `guess`: those that followed the latest earlier place where the last n_gram tokens
// stand, again from that place where they run out. None if there is no such place.
void guess_next(std::span<const int32_t> tokens, int64_t n_gram, int64_t n, std::vector<int32_t>& guess);

}  // namespace nanochat
