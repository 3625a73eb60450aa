// Which pieces of a growing text are final, against brute force: every cut of many texts, with many
// continuations.
#include <array>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tokenizer/split_scanner.h"
#include "unit/tokenizer/sample_data.h"

namespace nanochat {
namespace {

constexpr std::array<SplitPattern, 5> kPatterns{SplitPattern::nanochat, SplitPattern::gpt2,
                                                SplitPattern::cl100k, SplitPattern::o200k,
                                                SplitPattern::llama3};

class Random {
 public:
  uint32_t below(size_t n) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>((state_ >> 33) % n);
  }
  template <class List>
  auto pick(const List& list) {
    return list[below(std::size(list))];
  }

 private:
  uint64_t state_ = 1;
};

std::vector<size_t> piece_ends(const SplitRules& rules, std::string_view text) {
  std::vector<size_t> ends;
  for (size_t end = 0; end < text.size(); ends.push_back(end)) end = piece_end(rules, text, end);
  return ends;
}

void expect_final(const SplitRules& rules, const std::string& text, const std::string& continuation) {
  const size_t final_end = final_pieces_end(rules, text);
  const std::vector<size_t> ends = piece_ends(rules, text);
  const std::vector<size_t> later = piece_ends(rules, text + continuation);
  ASSERT_LE(final_end, text.size());
  size_t end = 0;
  for (size_t i = 0; end < final_end; ++i) {
    end = ends[i];
    ASSERT_EQ(later[i], end) << nlohmann::json(text).dump() << " then " << continuation.size() << " bytes";
  }
  ASSERT_EQ(end, final_end);
}

std::string join(Random& random, const std::vector<std::string>& parts, size_t n) {
  std::string text;
  for (size_t i = 0; i < n; ++i) text += random.pick(parts);
  return text;
}

const std::vector<std::string> kParts{" ",
                                      "  ",
                                      "\n",
                                      "\r",
                                      "\t",
                                      "'",
                                      "'s",
                                      "l",
                                      "L",
                                      "e",
                                      "v",
                                      "a",
                                      "B",
                                      "1",
                                      "23",
                                      "!",
                                      "/",
                                      "\xc3\xa9",
                                      "\xc5\xbf",
                                      "\xcc\x81",
                                      "\xe2\x80\x83",
                                      "\xe4\xbd\xa0",
                                      "\xe3\x80\x82",
                                      "\xca\xb0",
                                      "\xf0\x9f\x98\x80",
                                      "\xff",
                                      std::string(1, '\0')};

TEST(FinalPieces, StayWhateverComesAfterThem) {
  Random random;
  for (int round = 0; round < 4000; ++round) {
    const std::string text = join(random, kParts, 1 + random.below(12));
    for (const SplitPattern pattern : kPatterns) {
      for (size_t cut = 0; cut <= text.size(); ++cut) {  // inside characters too
        const std::string begun = text.substr(0, cut);
        expect_final(split_rules(pattern), begun, text.substr(cut));
        expect_final(split_rules(pattern), begun, join(random, kParts, random.below(5)));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(FinalPieces, StayInTextsOfManyLanguages) {
  Random random;
  const std::vector<std::string> texts = sample_texts();
  for (size_t i = 0; i < texts.size(); i += 7) {
    if (texts[i].size() > 600) continue;
    for (const SplitPattern pattern : kPatterns) {
      for (size_t cut = random.below(4); cut < texts[i].size(); cut += 1 + random.below(9)) {
        expect_final(split_rules(pattern), texts[i].substr(0, cut), texts[i].substr(cut));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(FinalPieces, AreAllButTheLastOfAnOrdinaryText) {
  for (const SplitPattern pattern : kPatterns) {
    const SplitRules& rules = split_rules(pattern);
    EXPECT_EQ(final_pieces_end(rules, "We the people"), 6u);
    EXPECT_EQ(final_pieces_end(rules, "We the people "), 13u);
    EXPECT_EQ(final_pieces_end(rules, "people"), 0u);
    EXPECT_EQ(final_pieces_end(rules, ""), 0u);
    EXPECT_EQ(final_pieces_end(rules, "100 \xe4\xbd\xa0\xe3\x80\x82 a"), 10u);
  }
}

}  // namespace
}  // namespace nanochat
