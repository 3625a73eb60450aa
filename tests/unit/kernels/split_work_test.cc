#include "kernels/split_work.h"

#include <gtest/gtest.h>

namespace nanochat {
namespace {

TEST(ShrinkingPieces, CoverEverythingOnceInWholeGrains) {
  for (const int64_t n_threads : {2, 3, 64}) {
    for (const int64_t grain : {1, 7, 64}) {
      for (const int64_t n : {1, 2, 17, 18, 63, 64, 65, 1000, 1 << 20}) {
        const ShrinkingPieces pieces(n, grain, n_threads);
        ASSERT_GE(pieces.count(), 1);
        EXPECT_EQ(pieces.begin(0), 0);
        EXPECT_EQ(pieces.begin(pieces.count()), n);
        for (int64_t i = 0; i < pieces.count(); ++i) {
          EXPECT_LE(pieces.begin(i), pieces.begin(i + 1)) << n << " by " << grain << ", piece " << i;
          // At n: this piece and those behind it are empty.
          EXPECT_TRUE(pieces.begin(i) == n || pieces.begin(i) % grain == 0)
              << n << " by " << grain << ", piece " << i;
        }
      }
    }
  }
}

TEST(ShrinkingPieces, EndWithShortOnes) {
  const ShrinkingPieces pieces(1000, 1, 2);
  EXPECT_GT(pieces.begin(1), 200);
  EXPECT_LT(pieces.begin(pieces.count()) - pieces.begin(pieces.count() - 1), 10);
}

}  // namespace
}  // namespace nanochat
