// The models of a pipeline one by one, without what comes before and after: ids and the bytes they stand for.
#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "tokenizer/piece_trie.h"
#include "tokenizer/unigram_model.h"
#include "tokenizer/word_level_model.h"
#include "tokenizer/word_piece_model.h"

namespace nanochat {
namespace {

using Ids = std::vector<TokenId>;
using Spans = std::vector<std::pair<size_t, size_t>>;

Vocabulary vocabulary_of(const std::vector<std::string>& texts) {
  std::vector<Vocabulary::Entry> entries;
  for (const std::string& text : texts) entries.push_back({static_cast<TokenId>(entries.size()), text, true});
  return Vocabulary(entries);
}

struct Encoded {
  Ids ids;
  Spans spans;
};

Encoded encode(const TokenModel& model, std::string_view piece) {
  Encoded encoded;
  std::vector<TokenSpan> spans;
  model.encode_piece(piece, encoded.ids, &spans);
  for (const TokenSpan& span : spans) encoded.spans.emplace_back(span.begin, span.end);
  Ids without;
  model.encode_piece(piece, without, nullptr);
  EXPECT_EQ(without, encoded.ids);
  return encoded;
}

uint32_t next_random(uint32_t& state) { return state = state * 1664525 + 1013904223; }

TEST(PieceTrie, FindsWhatAMapFinds) {
  uint32_t state = 7;
  std::map<std::string, int32_t> keys;
  for (int32_t i = 0; i < 20000; ++i) {
    std::string text;
    const uint32_t length = 1 + next_random(state) % 9;
    for (uint32_t k = 0; k < length; ++k) {
      text += static_cast<char>(i % 3 == 0 ? next_random(state) >> 24 : 'a' + (next_random(state) >> 28));
    }
    keys.emplace(text, i);
  }
  std::vector<PieceTrie::Key> list(keys.begin(), keys.end());
  const PieceTrie trie(list);
  const auto find = [&](std::string_view text) {
    uint32_t node = PieceTrie::kRoot;
    for (const char c : text) {
      if (!trie.step(node, c)) return -1;
    }
    return trie.value(node);
  };
  for (const auto& [text, value] : keys) {
    ASSERT_EQ(find(text), value);
    for (const char c : {'\0', 'a', '\xff'}) {
      const auto longer = keys.find(text + c);
      ASSERT_EQ(find(text + c), longer == keys.end() ? -1 : longer->second);
    }
    const auto shorter = keys.find(text.substr(0, text.size() - 1));
    ASSERT_EQ(find(text.substr(0, text.size() - 1)), shorter == keys.end() ? -1 : shorter->second);
  }
  EXPECT_EQ(PieceTrie().value(PieceTrie::kRoot), -1);
  uint32_t node = PieceTrie::kRoot;
  for (int c = 0; c < 256; ++c) EXPECT_FALSE(PieceTrie().step(node, static_cast<char>(c)));
}

TEST(WordPiece, TakesTheLongestTokenAndSaysWhere) {
  const WordPieceModel model(vocabulary_of({"[UNK]", "a", "ab", "##b", "##bc", "##\xc3\xa9", "\xc3\xa9"}),
                             {0, "##", 6});
  EXPECT_EQ(encode(model, "abbc").ids, (Ids{2, 4}));
  EXPECT_EQ(encode(model, "abbc").spans, (Spans{{0, 2}, {2, 4}}));
  EXPECT_EQ(encode(model, "\xc3\xa9\xc3\xa9").spans, (Spans{{0, 2}, {2, 4}}));
  EXPECT_EQ(encode(model, "abx").ids, (Ids{0}));
  EXPECT_EQ(encode(model, "abx").spans, (Spans{{0, 3}}));
  EXPECT_EQ(encode(model, "").ids, Ids{});
}

TEST(WordPiece, CountsCharactersAgainstTheLimit) {
  const WordPieceModel model(vocabulary_of({"[UNK]", "\xc3\xa9", "##\xc3\xa9"}), {0, "##", 6});
  std::string word;
  for (int i = 0; i < 6; ++i) word += "\xc3\xa9";
  EXPECT_EQ(encode(model, word).ids.size(), 6u);
  EXPECT_EQ(encode(model, word + "\xc3\xa9").ids, (Ids{0}));
}

TEST(WordPiece, TakesAMegabyteOfOneWord) {
  const std::string word(1 << 20, 'a');
  const std::vector<std::string> texts{"[UNK]", "a", "##a", "##aa"};
  EXPECT_EQ(encode(WordPieceModel(vocabulary_of(texts), {0, "##", 100}), word).ids, (Ids{0}));
  const WordPieceModel patient(vocabulary_of(texts), {0, "##", word.size()});
  EXPECT_EQ(encode(patient, word).ids.size(), 1 + (word.size() - 1 + 1) / 2);
  EXPECT_EQ(encode(patient, word + "x").ids, (Ids{0}));
}

TEST(WordLevel, KnowsAPieceOrDoesNot) {
  const WordLevelModel model(vocabulary_of({"a", "<unk>", "ab"}), 1);
  EXPECT_EQ(encode(model, "ab").ids, (Ids{2}));
  EXPECT_EQ(encode(model, "b").ids, (Ids{1}));
  EXPECT_EQ(encode(model, "b").spans, (Spans{{0, 1}}));
}

// All ways to cut a text, in doubles, from the left as the library adds them up.
double best_score(const std::map<std::string, double>& pieces, const std::string& text, size_t begin,
                  double so_far, double unknown) {
  if (begin == text.size()) return so_far;
  double best = -1e300;
  for (size_t n = 1; begin + n <= text.size(); ++n) {
    const auto piece = pieces.find(text.substr(begin, n));
    if (piece != pieces.end()) {
      best = std::max(best, best_score(pieces, text, begin + n, piece->second + so_far, unknown));
    } else if (n == 1) {
      best = std::max(best, best_score(pieces, text, begin + 1, unknown + so_far, unknown));
    }
  }
  return best;
}

TEST(Unigram, FindsTheBestOfAllCuts) {
  uint32_t state = 3;
  for (int round = 0; round < 60; ++round) {
    std::map<std::string, double> scores;
    const auto random_text = [&](uint32_t length) {
      std::string text;
      for (uint32_t i = 0; i < length; ++i) text += static_cast<char>('a' + (next_random(state) >> 30));
      return text;
    };
    for (int i = 0; i < 14; ++i) {
      scores.emplace(random_text(1 + (next_random(state) >> 30)), -1.0 - (next_random(state) >> 27) / 7.0);
    }
    std::vector<UnigramPiece> pieces{{"<unk>", -1, true}};
    double unknown = -1;
    for (const auto& [text, score] : scores) {
      pieces.push_back({text, score, true});
      unknown = std::min(unknown, score);
    }
    UnigramOptions options;
    options.unknown = 0;
    options.unknown_score = unknown - kUnknownPenalty;
    const UnigramModel model(pieces, options);
    const std::string text = random_text(14);
    const Encoded found = encode(model, text);
    double sum = 0;
    size_t position = 0;
    for (size_t i = 0; i < found.ids.size(); ++i) {
      const auto [begin, end] = found.spans[i];
      ASSERT_EQ(begin, position);
      position = end;
      if (found.ids[i] == 0) {
        for (size_t k = begin; k < end; ++k) sum = options.unknown_score + sum;
      } else {
        ASSERT_EQ(text.substr(begin, end - begin), pieces[static_cast<size_t>(found.ids[i])].text);
        sum = pieces[static_cast<size_t>(found.ids[i])].score + sum;
      }
    }
    EXPECT_EQ(position, text.size());
    EXPECT_DOUBLE_EQ(sum, best_score(scores, text, 0, 0, options.unknown_score)) << text;
  }
}

TEST(Unigram, FusesUnknownCharactersAcrossPlacesThatNoTokenCrosses) {
  UnigramOptions options;
  options.unknown = 0;
  options.unknown_score = -20;
  const UnigramModel model({{"<unk>", 0, true}, {"a", -1, true}, {"ab", -1.5, true}}, options);
  EXPECT_EQ(encode(model, "xyza\xf0\x9f\x98\x80z\xff").ids, (Ids{0, 1, 0}));
  EXPECT_EQ(encode(model, "xyza\xf0\x9f\x98\x80z\xff").spans, (Spans{{0, 3}, {3, 4}, {4, 10}}));
}

TEST(Unigram, RefusesWhatItHasNoTokenForIfThereIsNoUnknownToken) {
  const UnigramModel model({{"a", -1, true}}, {});
  EXPECT_EQ(encode(model, "aa").ids, (Ids{0, 0}));
  Ids ids;
  try {
    model.encode_piece("a\xc3\xa9", ids, nullptr);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::out_of_range);
    EXPECT_NE(error.message().find("\xc3\xa9"), std::string::npos);
  }
}

TEST(Unigram, TakesMegabytesWithoutAPlaceToCut) {
  UnigramOptions options;
  options.unknown = 0;
  options.unknown_score = -20;
  const UnigramModel model({{"<unk>", 0, true}, {"a", -1, true}, {"aa", -1.5, true}, {"aaa", -2.9, true}},
                           options);
  EXPECT_EQ(encode(model, std::string(1 << 20, 'a')).ids, Ids(1 << 19, 2));
}

}  // namespace
}  // namespace nanochat
