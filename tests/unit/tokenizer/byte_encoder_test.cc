// Byte-level BPE against the textbook loop: of all neighbouring pairs the one of lowest rank, the leftmost of
// equal ones, again and again.
#include "tokenizer/byte_encoder.h"

#include <algorithm>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tokenizer/bpe_model.h"
#include "tokenizer/tokenizer.h"
#include "unit/tokenizer/sample_data.h"

namespace nanochat {
namespace {

using Ids = std::vector<TokenId>;
using Source = ByteEncoder::MergeSource;
using Whole = ByteEncoder::WholePieces;

struct Model {
  std::vector<std::string> tokens;  // by id
  std::vector<BpeMerge> merges;     // Source::list
  Source source;
  Whole whole;
};

class Textbook {
 public:
  explicit Textbook(const Model& model) : model_(model) {
    for (size_t i = 0; i < model.tokens.size(); ++i) ids_[model.tokens[i]] = static_cast<TokenId>(i);
    for (const BpeMerge& merge : model.merges) merges_[{merge.left, merge.right}] = merge;
  }

  Ids encode(const std::string& piece) const {
    if (model_.whole == Whole::first && ids_.contains(piece)) return {ids_.at(piece)};
    Ids ids;
    for (const char c : piece) ids.push_back(ids_.at(std::string(1, c)));
    while (true) {
      uint32_t best = std::numeric_limits<uint32_t>::max();
      size_t place = 0;
      TokenId result = -1;
      for (size_t i = 0; i + 1 < ids.size(); ++i) {
        BpeMerge merge{};
        if (find(ids[i], ids[i + 1], merge) && merge.rank < best) {
          best = merge.rank;
          place = i;
          result = merge.result;
        }
      }
      if (result < 0) return ids;
      ids[place] = result;
      ids.erase(ids.begin() + static_cast<ptrdiff_t>(place) + 1);
    }
  }

 private:
  bool find(TokenId left, TokenId right, BpeMerge& merge) const {
    if (model_.source == Source::list) {
      const auto found = merges_.find({left, right});
      if (found == merges_.end()) return false;
      merge = found->second;
      return true;
    }
    const auto found =
        ids_.find(model_.tokens[static_cast<size_t>(left)] + model_.tokens[static_cast<size_t>(right)]);
    if (found == ids_.end()) return false;
    merge = {left, right, static_cast<uint32_t>(found->second), found->second};
    return true;
  }

  const Model& model_;
  std::map<std::string, TokenId> ids_;
  std::map<std::pair<TokenId, TokenId>, BpeMerge> merges_;
};

Vocabulary vocabulary_of(const Model& model) {
  TokenList list;
  for (size_t i = 0; i < model.tokens.size(); ++i) list.add(static_cast<TokenId>(i), model.tokens[i]);
  return Vocabulary(list);
}

std::vector<std::string> single_bytes() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  return tokens;
}

// Tokens in any order: parts may have a higher rank than what they make, or be missing.
Model random_ranks(std::mt19937& random, std::string_view letters) {
  Model model{single_bytes(), {}, Source::ranks, random() % 2 ? Whole::first : Whole::by_merges};
  std::set<std::string> seen;
  for (size_t n = 2 + random() % 40; n > 0; --n) {
    std::string token;
    for (size_t length = 2 + random() % 7; length > 0; --length) token += letters[random() % letters.size()];
    if (seen.insert(token).second) model.tokens.push_back(token);
  }
  return model;
}

// Merges as training makes them, but with the ranks shuffled in every second round.
Model random_merges(std::mt19937& random, std::string_view letters) {
  Model model{single_bytes(), {}, Source::list, random() % 2 ? Whole::first : Whole::by_merges};
  std::map<std::string, TokenId> ids;
  Ids parts;
  for (const char c : letters) parts.push_back(static_cast<uint8_t>(c));
  const auto n_merges = static_cast<uint32_t>(2 + random() % 40);
  for (uint32_t rank = 0; rank < n_merges; ++rank) {
    const TokenId left = parts[random() % parts.size()], right = parts[random() % parts.size()];
    const std::string text =
        model.tokens[static_cast<size_t>(left)] + model.tokens[static_cast<size_t>(right)];
    if (text.size() > 20) continue;
    const auto [found, is_new] = ids.emplace(text, static_cast<TokenId>(model.tokens.size()));
    if (is_new) {
      model.tokens.push_back(text);
      parts.push_back(found->second);
    }
    model.merges.push_back({left, right, rank, found->second});
  }
  if (random() % 2) {
    std::vector<uint32_t> ranks;
    for (const BpeMerge& merge : model.merges) ranks.push_back(merge.rank);
    std::shuffle(ranks.begin(), ranks.end(), random);
    for (size_t i = 0; i < ranks.size(); ++i) model.merges[i].rank = ranks[i];
  }
  return model;
}

std::string random_text(std::mt19937& random, std::string_view letters, size_t n) {
  std::string text;
  const size_t period = 1 + random() % 5;
  const bool periodic = random() % 4 == 0;
  for (size_t i = 0; i < n; ++i) {
    text += periodic ? letters[i % period % letters.size()] : letters[random() % letters.size()];
  }
  return text;
}

void expect_textbook(const Model& model, const std::vector<std::string>& pieces) {
  const Vocabulary vocabulary = vocabulary_of(model);
  const BpeMerges merges(model.merges);
  const ByteEncoder encoder(vocabulary, merges, model.source, model.whole);
  const Textbook textbook(model);
  for (const std::string& piece : pieces) {
    const Ids expected = textbook.encode(piece);
    Ids ids;
    std::vector<TokenSpan> spans;
    encoder.encode_piece(piece, ids, &spans);
    ASSERT_EQ(ids, expected) << piece;
    ASSERT_EQ(spans.size(), ids.size());
    size_t begin = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      ASSERT_EQ(spans[i].begin, begin);
      begin += vocabulary.text(ids[i]).size();
      ASSERT_EQ(spans[i].end, begin);
    }
    ASSERT_EQ(begin, piece.size());
  }
}

TEST(ByteEncoder, MergesShortPiecesAsTheTextbookDoes) {
  std::mt19937 random(1);
  for (int round = 0; round < 1500; ++round) {
    const std::string_view letters = round % 3 == 0 ? "ab" : round % 3 == 1 ? "a" : "abcd";
    const Model model = round % 2 ? random_ranks(random, letters) : random_merges(random, letters);
    std::vector<std::string> pieces = model.tokens;
    for (int i = 0; i < 20; ++i) pieces.push_back(random_text(random, letters, 1 + random() % 40));
    expect_textbook(model, pieces);
    if (HasFatalFailure()) return;
  }
}

TEST(ByteEncoder, MergesLongPiecesAsTheTextbookDoes) {
  std::mt19937 random(2);
  for (int round = 0; round < 120; ++round) {
    const std::string_view letters = round % 3 == 0 ? "ab" : round % 3 == 1 ? "a" : "abcd";
    const Model model = round % 2 ? random_ranks(random, letters) : random_merges(random, letters);
    std::vector<std::string> pieces;
    for (const size_t n : {127, 128, 129, 200, 700}) pieces.push_back(random_text(random, letters, n));
    expect_textbook(model, pieces);
    if (HasFatalFailure()) return;
  }
}

// The lower the rank, the further to the right: where a run ends decides on every pair back to its beginning,
// which is further than any window reaches at first.
TEST(ByteEncoder, LooksAsFarAheadAsTheVocabularyAsksFor) {
  for (const int n_links : {100, 190, 250}) {
    Model model{single_bytes(), {}, Source::ranks, Whole::first};
    for (int i = n_links; i-- > 0;) {
      model.tokens.push_back({static_cast<char>(i), static_cast<char>(i + 1)});
    }
    std::string chain;
    for (int i = 0; i <= n_links; ++i) chain += static_cast<char>(i);
    std::vector<std::string> pieces;
    for (size_t n_last = 0; n_last < chain.size(); n_last += 13) {
      pieces.push_back(chain + chain + chain + chain.substr(0, n_last));
      pieces.push_back(chain.substr(n_last) + chain + chain);
    }
    expect_textbook(model, pieces);
    if (HasFatalFailure()) return;
  }
}

TEST(ByteEncoder, MergesTokensLongerThanAWindow) {
  Model model{single_bytes(), {}, Source::ranks, Whole::first};
  for (std::string run = "aa"; run.size() <= 512; run += run) model.tokens.push_back(run);
  std::vector<std::string> pieces;
  for (const size_t n : {127, 128, 511, 512, 513, 1500, 3001}) pieces.emplace_back(n, 'a');
  expect_textbook(model, pieces);
}

// Whole texts: splitting, whole pieces, the memory of pieces seen before, counting.
TEST(ByteEncoder, EncodesTextsAsPieceByPiece) {
  std::mt19937 random(3);
  std::string text;
  for (const std::string& sample : sample_texts()) text += sample;
  text += random_text(random, "ab ", 5000) + random_text(random, "a", 5000) +
          random_text(random, "ab1 \n'\xff", 9000);
  for (int round = 0; round < 12; ++round) {
    const Model model = round % 2 ? random_ranks(random, "ab te") : random_merges(random, "abthe \xc3");
    const Vocabulary vocabulary = vocabulary_of(model);
    const BpeMerges merges(model.merges);
    const ByteEncoder encoder(vocabulary, merges, model.source, model.whole);
    for (const SplitPattern pattern : {SplitPattern::gpt2, SplitPattern::o200k}) {
      const SplitRules& rules = split_rules(pattern);
      Ids expected;
      for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
        end = piece_end(rules, text, begin);
        encoder.encode_piece(std::string_view(text).substr(begin, end - begin), expected, nullptr);
      }
      Ids ids;
      std::vector<TokenSpan> spans;
      encoder.encode_text(rules, text, ids, &spans);
      ASSERT_EQ(ids, expected);
      ASSERT_EQ(spans.size(), ids.size());
      for (size_t i = 0; i < ids.size(); ++i) {
        ASSERT_EQ(spans[i].begin, i == 0 ? 0 : spans[i - 1].end);
        ASSERT_EQ(spans[i].end - spans[i].begin, vocabulary.text(ids[i]).size());
      }
      EXPECT_EQ(encoder.count(rules, text), ids.size());
    }
  }
}

TEST(ByteEncoder, GivesTheSameToManyThreadsAtOnce) {
  const auto tokenizer = load_tokenizer(sample_path("files/gpt2.tokenizer.json.zst"));
  std::string text;
  for (const std::string& sample : sample_texts()) text += sample;
  std::vector<Ids> results(4);
  std::vector<std::thread> threads;
  for (Ids& ids : results) threads.emplace_back([&] { ids = tokenizer->encode(text); });
  for (std::thread& thread : threads) thread.join();
  for (const Ids& ids : results) EXPECT_EQ(ids, results[0]);
  EXPECT_EQ(tokenizer->encode(text), results[0]);
}

TEST(BpeMerges, MergeAnySymbolsInWindows) {
  std::mt19937 random(4);
  for (int round = 0; round < 60; ++round) {
    Model model = random_merges(random, "abc");
    model.whole = Whole::by_merges;
    const BpeMerges merges(model.merges);
    const Textbook textbook(model);
    for (const size_t n : {1, 2, 60, 128, 129, 600}) {
      const std::string piece = random_text(random, "abc", n);
      Ids symbols, ids;
      std::vector<size_t> firsts;
      for (const char c : piece) symbols.push_back(static_cast<uint8_t>(c));
      merges.apply(symbols, ids, &firsts);
      ASSERT_EQ(ids, textbook.encode(piece));
      size_t first = 0;
      for (size_t i = 0; i < ids.size(); ++i) {
        ASSERT_EQ(firsts[i], first);
        first += model.tokens[static_cast<size_t>(ids[i])].size();
      }
    }
  }
}

TEST(Vocabulary, FindsTextsOfEveryLengthAndNothingElse) {
  std::mt19937 random(5);
  TokenList list;
  std::map<std::string, TokenId> expected;
  const auto add = [&](const std::string& text) {
    if (expected.emplace(text, static_cast<TokenId>(expected.size())).second) {
      list.add(static_cast<TokenId>(list.size()), text);
    }
  };
  for (int byte = 0; byte < 256; ++byte) add(std::string(1, static_cast<char>(byte)));
  for (size_t length = 1; length <= 600; length += 1 + length / 20) {
    for (int i = 0; i < 20; ++i) add(random_text(random, std::string_view("\0\1\7ab", 5), length));
  }
  const Vocabulary vocabulary(list);
  EXPECT_EQ(vocabulary.repeated(), -1);
  for (const auto& [text, id] : expected) {
    ASSERT_EQ(vocabulary.find(text), id);
    ASSERT_EQ(vocabulary.text(id), text);
    const std::string longer = text + std::string(1, '\0') + "xxxxxxxx";
    ASSERT_EQ(vocabulary.find(std::string_view(longer).substr(0, text.size()), longer.data() + longer.size()),
              id);
    const auto with_zero = expected.find(text + std::string(1, '\0'));
    ASSERT_EQ(vocabulary.find(std::string_view(longer).substr(0, text.size() + 1)),
              with_zero == expected.end() ? -1 : with_zero->second);
  }
  EXPECT_EQ(vocabulary.find(""), -1);
  list.add(static_cast<TokenId>(list.size()), std::string(300, 'q'));
  list.add(static_cast<TokenId>(list.size()), std::string(300, 'q'));
  EXPECT_EQ(Vocabulary(list).repeated(), static_cast<TokenId>(list.size()) - 1);
}

}  // namespace
}  // namespace nanochat
