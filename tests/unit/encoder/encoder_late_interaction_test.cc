// What ColBERT does to texts before the encoder sees them.
#include "encoder/encoder_late_interaction.h"

#include "unit/encoder/encoder_fixture.h"

namespace nanochat::testing {
namespace {

using Ids = std::vector<int32_t>;

LateInteraction options_of(int64_t query_length) {
  LateInteraction options;
  options.query_length = query_length;
  options.skipped_tokens = {7, 9};
  return options;
}

TEST(LateInteraction, MarksAQueryAndFillsItWithMasks) {
  const LateText query = late_query(Ids{101, 5, 6, 102}, options_of(8));
  EXPECT_EQ(query.tokens, (Ids{101, 1, 5, 6, 102, 103, 103, 103}));
  EXPECT_EQ(query.n_attended, 5);
}

TEST(LateInteraction, CanLetMasksBeSeen) {
  LateInteraction options = options_of(8);
  options.masks_are_seen = true;
  EXPECT_EQ(late_query(Ids{101, 5, 102}, options).n_attended, 0);
}

TEST(LateInteraction, CutsALongQueryBeforeItsEnd) {
  const LateText query = late_query(Ids{101, 5, 6, 7, 8, 9, 102}, options_of(6));
  EXPECT_EQ(query.tokens, (Ids{101, 1, 5, 6, 7, 102}));
  EXPECT_EQ(query.n_attended, 6);
}

TEST(LateInteraction, MarksADocumentAndLeavesOutPunctuation) {
  const LateText document = late_document(Ids{101, 7, 8, 9, 102}, 512, options_of(32));
  EXPECT_EQ(document.tokens, (Ids{101, 2, 7, 8, 9, 102}));
  EXPECT_EQ(kept_tokens(document.tokens, options_of(32)), (std::vector<int64_t>{0, 1, 3, 5}));
}

TEST(LateInteraction, RefusesTextsWithoutBeginningAndEnd) {
  EXPECT_THROW(late_query(Ids{101}, options_of(32)), Error);
  EXPECT_THROW(late_query(Ids{101, 102}, options_of(2)), Error);
  EXPECT_THROW(late_document(Ids{}, 512, options_of(32)), Error);
  EXPECT_EQ(late_query(Ids{101, 102}, options_of(3)).tokens, (Ids{101, 1, 102}));
}

// The case's query is 9 tokens and masks up to 32.
TEST(LateInteraction, IsWhatTheModelWasTrainedWith) {
  const Expected expected("colbert");
  const TextInput golden = expected.texts()[0];
  LateInteraction options;
  options.query_marker = golden.tokens[1];
  options.mask_token = 4;
  Ids text(golden.tokens.begin(), golden.tokens.begin() + 9);
  text.erase(text.begin() + 1);
  const LateText query = late_query(text, options);
  EXPECT_EQ(query.tokens, Ids(golden.tokens.begin(), golden.tokens.end()));
  EXPECT_EQ(query.n_attended, golden.n_attended);
}

}  // namespace
}  // namespace nanochat::testing
