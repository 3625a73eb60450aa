#include "infer/ngram_draft.h"

#include <algorithm>

namespace nanochat {

void guess_next(std::span<const int32_t> tokens, int64_t n_gram, int64_t n, std::vector<int32_t>& guess) {
  if (n_gram < 1 || std::ssize(tokens) <= n_gram) return;
  const auto last = tokens.end() - n_gram;
  for (auto at = last; at != tokens.begin();) {
    --at;
    if (!std::equal(last, tokens.end(), at)) continue;
    const int64_t period = last - at;
    for (int64_t i = 0; i < n; ++i) guess.push_back(at[n_gram + i % period]);
    return;
  }
}

}  // namespace nanochat
