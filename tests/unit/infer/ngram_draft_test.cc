#include "infer/ngram_draft.h"

#include <vector>

#include <gtest/gtest.h>

namespace nanochat::testing {
namespace {

using Tokens = std::vector<int32_t>;

Tokens guess(const Tokens& tokens, int64_t n_gram, int64_t n) {
  Tokens result;
  guess_next(tokens, n_gram, n, result);
  return result;
}

TEST(NgramDraft, GuessesWhatFollowedTheLatestPlace) {
  EXPECT_EQ(guess({1, 2, 3, 9, 1, 2, 4, 5, 1, 2}, 2, 2), (Tokens{4, 5}));
  EXPECT_EQ(guess({1, 2, 3, 9, 1, 2, 4, 5, 3}, 1, 3), (Tokens{9, 1, 2}));
}

TEST(NgramDraft, GoesRoundWhatRepeatsItself) {
  EXPECT_EQ(guess({7, 7, 7}, 2, 4), (Tokens{7, 7, 7, 7}));
  EXPECT_EQ(guess({1, 2, 3, 1, 2, 3, 1}, 2, 5), (Tokens{2, 3, 1, 2, 3}));
}

TEST(NgramDraft, GuessesNothingWithoutAnEarlierPlace) {
  EXPECT_EQ(guess({1, 2, 3, 4}, 2, 3), Tokens{});
  EXPECT_EQ(guess({1, 2}, 2, 3), Tokens{});
  EXPECT_EQ(guess({}, 1, 3), Tokens{});
  EXPECT_EQ(guess({1, 1, 1}, 0, 3), Tokens{});
}

}  // namespace
}  // namespace nanochat::testing
