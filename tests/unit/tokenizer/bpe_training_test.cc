// Training against trainers of others, within limits of memory, and with counts beyond 32 bits.
#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "tokenizer/bpe_merge_state.h"
#include "tokenizer/bpe_trainer.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/piece_counter.h"
#include "unit/io/scratch_folder.h"

namespace nanochat {
namespace {

using json = nlohmann::json;
using Merges = std::vector<std::pair<TokenId, TokenId>>;

std::string data(const std::string& name) { return std::string(NANOCHAT_TEST_DATA) + "/" + name; }

std::vector<std::string> mixed_documents() {
  const std::string lines = read_file(data("golden/tokenizer/corpus/mixed.jsonl"));
  std::vector<std::string> documents;
  for (size_t begin = 0; begin < lines.size();) {
    const size_t end = std::min(lines.find('\n', begin), lines.size());
    documents.push_back(json::parse(std::string_view(lines).substr(begin, end - begin)).get<std::string>());
    begin = end + 1;
  }
  return documents;
}

std::string shakespeare() { return read_file(data("golden/tokenizer/corpus/tinyshakespeare.txt")); }

BpeTrainOptions options_of(size_t n_merges, SplitPattern pattern = SplitPattern::nanochat) {
  BpeTrainOptions options;
  options.vocab_size = static_cast<int32_t>(256 + 9 + n_merges);
  options.pattern = pattern;
  return options;
}

BpeTrainResult train(const BpeTrainOptions& options, const std::vector<std::string>& documents,
                     int n_threads = 2, const Watch& watch = {}) {
  ThreadPool::Options pool_options;
  pool_options.n_threads = n_threads;
  ThreadPool threads(pool_options);
  BpeTrainer trainer(options);
  const std::vector<std::string_view> views(documents.begin(), documents.end());
  trainer.add_documents(views, threads, watch);
  return trainer.train(threads, watch);
}

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    text += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
    text += "0123456789abcdef"[static_cast<unsigned char>(c) & 15];
  }
  return text;
}

// Trainers that differ in the rule for ties alone have made the same tokens whenever all of one count are
// made, as long as ties do not compete for the same text. Returns how many merges were compared.
size_t expect_same_tokens(const BpeTrainResult& ours, const std::vector<std::string>& theirs_hex) {
  std::set<std::string> mine, theirs;
  size_t n_compared = 0;
  for (size_t i = 0; i < std::min(ours.merges.size(), theirs_hex.size()); ++i) {
    if (i > 0 && ours.merge_counts[i] < ours.merge_counts[i - 1]) {
      EXPECT_EQ(mine, theirs) << "after " << i << " merges";
      n_compared = i;
    }
    mine.insert(hex(ours.token_bytes[256 + i]));
    theirs.insert(theirs_hex[i]);
  }
  return n_compared;
}

TEST(BpeTraining, MakesTheTokensOfHuggingFacesTrainer) {
  const json trained = json::parse(read_file(data("tokenizers/trained.json")));
  EXPECT_GT(expect_same_tokens(train(options_of(1500), {shakespeare()}),
                               trained["tinyshakespeare"].get<std::vector<std::string>>()),
            1400u);
  // Behind this, ties compete: each choice is one of several right ones.
  constexpr size_t kFirstCompetingTie = 367;
  auto mixed = trained["mixed"].get<std::vector<std::string>>();
  mixed.resize(kFirstCompetingTie);
  EXPECT_GT(expect_same_tokens(train(options_of(600), mixed_documents()), mixed), 300u);
}

TEST(BpeTraining, MakesTheTokensOfACoursesReference) {
  std::vector<std::string> tokens;
  const std::string lines = read_file(data("tokenizers/cs336/train-bpe-reference-merges.txt"));
  for (size_t begin = 0; begin < lines.size();) {
    const size_t end = std::min(lines.find('\n', begin), lines.size());
    std::string line = lines.substr(begin, end - begin), bytes;
    line.erase(line.find(' '), 1);
    ASSERT_TRUE(from_alphabet(line, bytes)) << line;
    tokens.push_back(hex(bytes));
    begin = end + 1;
  }
  constexpr size_t kFirstCompetingTie = 162;  // as above
  tokens.resize(kFirstCompetingTie);
  const std::string corpus = read_file(data("tokenizers/cs336/corpus.en"));
  EXPECT_GT(expect_same_tokens(train(options_of(tokens.size(), SplitPattern::gpt2), {corpus}), tokens), 140u);
}

// Recounts everything before each merge, over pieces with counts.
BpeTrainResult train_slowly(const std::map<std::string, uint64_t>& counts, size_t n_merges) {
  std::vector<std::pair<std::vector<TokenId>, uint64_t>> pieces;
  for (const auto& [piece, n] : counts) {
    pieces.push_back({{}, n});
    for (const char c : piece) pieces.back().first.push_back(static_cast<unsigned char>(c));
  }
  BpeTrainResult result;
  while (result.merges.size() < n_merges) {
    std::map<std::pair<TokenId, TokenId>, uint64_t> pairs;
    for (const auto& [ids, n] : pieces) {
      for (size_t i = 0; i + 1 < ids.size(); ++i) pairs[{ids[i], ids[i + 1]}] += n;
    }
    if (pairs.empty()) break;
    auto best = pairs.begin();
    for (auto at = pairs.begin(); at != pairs.end(); ++at) {
      if (at->second > best->second) best = at;
    }
    const auto made = static_cast<TokenId>(256 + result.merges.size());
    result.merges.push_back(best->first);
    result.merge_counts.push_back(best->second);
    for (auto& [ids, n] : pieces) {
      std::vector<TokenId> merged;
      for (size_t i = 0; i < ids.size(); ++i) {
        const bool is_pair = i + 1 < ids.size() && std::pair(ids[i], ids[i + 1]) == best->first;
        merged.push_back(is_pair ? made : ids[i]);
        i += is_pair;
      }
      ids = merged;
    }
  }
  return result;
}

std::map<std::string, uint64_t> random_pieces(std::mt19937_64& random) {
  std::map<std::string, uint64_t> pieces;
  const size_t n = 1 + random() % 60, n_letters = 1 + random() % 5;
  const uint64_t scale = uint64_t{1} << random() % 40;
  for (size_t i = 0; i < n; ++i) {
    std::string piece;
    const size_t size = 1 + random() % 20;
    for (size_t k = 0; k < size; ++k) piece += static_cast<char>('a' + random() % n_letters);
    pieces[piece] = 1 + random() % scale;
  }
  return pieces;
}

struct Merging {
  Merges merges;
  std::vector<uint64_t> counts;
  uint64_t n_listings = 0;
};

Merging merge_within(const std::map<std::string, uint64_t>& pieces, size_t n_merges, uint64_t max_bytes) {
  BpeMergeState::Size size;
  for (const auto& [piece, n] : pieces) {
    if (piece.size() < 2) continue;
    ++size.n_pieces;
    size.n_bytes += piece.size();
  }
  BpeMergeState state(size, 256 + n_merges, max_bytes);
  for (const auto& [piece, n] : pieces) state.add_piece(piece, n);
  Merging merging;
  BpeMergeState::Best best;
  while (merging.merges.size() < n_merges && state.find_best(best, {})) {
    merging.merges.emplace_back(best.left, best.right);
    merging.counts.push_back(best.count);
    state.merge(best, static_cast<TokenId>(256 + merging.merges.size() - 1), {});
  }
  merging.n_listings = state.n_listings();
  return merging;
}

TEST(BpeMergeState, AgreesWithTheTextbookOnCountedPieces) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 300; ++round) {
    const auto pieces = random_pieces(random);
    const BpeTrainResult slow = train_slowly(pieces, 60);
    const Merging fast = merge_within(pieces, 60, BpeMergeState::kNoLimit);
    ASSERT_EQ(fast.merges, slow.merges) << "round " << round;
    ASSERT_EQ(fast.counts, slow.merge_counts) << "round " << round;
  }
}

std::map<std::string, uint64_t> many_pieces() {
  std::mt19937_64 random(12);
  std::map<std::string, uint64_t> pieces;
  for (int i = 0; i < 20000; ++i) {
    std::string piece;
    const size_t size = 2 + random() % 9;
    for (size_t k = 0; k < size; ++k) {
      piece += static_cast<char>('a' + std::min(random() % 26, random() % 26));
    }
    pieces[piece] += 1 + 100000 / static_cast<uint64_t>(1 + i);
  }
  return pieces;
}

TEST(BpeMergeState, MakesTheSameMergesWithinAnyMemory) {
  const auto pieces = many_pieces();
  const Merging free = merge_within(pieces, 3000, BpeMergeState::kNoLimit);
  ASSERT_EQ(free.merges.size(), 3000u);
  uint64_t n_bytes = 0;
  for (const auto& [piece, n] : pieces) n_bytes += piece.size();
  const uint64_t fixed = BpeMergeState::piece_bytes({pieces.size(), n_bytes}, 3256);
  for (const uint64_t more : {4000000, 1500000, 900000}) {
    const Merging tight = merge_within(pieces, 3000, fixed + more);
    EXPECT_EQ(tight.merges, free.merges) << more;
    EXPECT_EQ(tight.counts, free.counts) << more;
    EXPECT_GT(tight.n_listings, 1u) << more;
  }
}

TEST(BpeMergeState, NamesWhatItNeedsAndWhatIsAllowed) {
  const auto pieces = many_pieces();
  uint64_t n_bytes = 0;
  for (const auto& [piece, n] : pieces) n_bytes += piece.size();
  const uint64_t fixed = BpeMergeState::piece_bytes({pieces.size(), n_bytes}, 3256);
  for (const uint64_t allowed : {uint64_t{1000}, fixed, fixed + n_bytes - 1}) {
    try {
      merge_within(pieces, 3000, allowed);
      ADD_FAILURE() << "no error within " << allowed;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::working_memory_exhausted);
      EXPECT_NE(error.message().find(" needs "), std::string::npos) << error.message();
      EXPECT_NE(error.message().find(std::to_string(allowed) + " are allowed"), std::string::npos)
          << error.message();
    }
  }
}

TEST(BpeTraining, CountsBeyondThirtyTwoBits) {
  BpeTrainer trainer(options_of(3));
  constexpr uint64_t kMany = 5'000'000'000;
  trainer.add_piece("ab", kMany);
  trainer.add_piece("cd", kMany - 1);
  trainer.add_piece("abab", kMany);
  trainer.add_piece("xy", uint64_t{1} << 62);
  ThreadPool threads(ThreadPool::Options{});
  const BpeTrainResult result = trainer.train(threads, {});
  EXPECT_EQ(result.merges, (Merges{{'x', 'y'}, {'a', 'b'}, {257, 257}}));
  EXPECT_EQ(result.merge_counts, (std::vector<uint64_t>{uint64_t{1} << 62, 3 * kMany, kMany}));
}

TEST(BpeTraining, DoesNotDependOnTheOrderOfTheDocuments) {
  std::vector<std::string> documents = mixed_documents();
  const BpeTrainResult first = train(options_of(1000), documents);
  std::mt19937_64 random(13);
  for (int round = 0; round < 3; ++round) {
    std::shuffle(documents.begin(), documents.end(), random);
    const BpeTrainResult other = train(options_of(1000), documents, 1 + round);
    EXPECT_EQ(other.merges, first.merges);
    EXPECT_EQ(other.merge_counts, first.merge_counts);
  }
}

// 20,000 different words: far more than a limit of 1 MiB leaves to each table.
std::vector<std::string> many_words() {
  std::mt19937_64 random(14);
  std::vector<std::string> documents(40);
  for (std::string& document : documents) {
    for (int i = 0; i < 5000; ++i) {
      const uint64_t rank = random() % 8000;
      document += " " + std::string(1 + rank % 3, static_cast<char>('a' + rank % 26)) +
                  static_cast<char>('a' + rank % 25) + static_cast<char>('a' + rank / 25 % 26) +
                  static_cast<char>('a' + rank / 650);
    }
  }
  return documents;
}

TEST(BpeTraining, MakesTheSameMergesThroughFiles) {
  const ScratchFolder scratch;
  const std::vector<std::string> documents = many_words();
  const BpeTrainResult free = train(options_of(800), documents);
  ASSERT_EQ(free.merges.size(), 800u);
  for (const int n_threads : {1, 2, 4}) {
    BpeTrainOptions options = options_of(800);
    options.memory_limit = uint64_t{1} << 20;
    options.spill_folder = scratch.path();
    ThreadPool::Options pool_options;
    pool_options.n_threads = n_threads;
    ThreadPool threads(pool_options);
    BpeTrainer trainer(options);
    const std::vector<std::string_view> views(documents.begin(), documents.end());
    trainer.add_documents(views, threads);
    EXPECT_GT(trainer.counter().n_runs(), 0u);
    for (int again = 0; again < 2; ++again) {
      const BpeTrainResult spilled = trainer.train(threads, {});
      EXPECT_EQ(spilled.merges, free.merges) << n_threads << " threads";
      EXPECT_EQ(spilled.merge_counts, free.merge_counts);
    }
    EXPECT_TRUE(list_directory(scratch.path()).empty());
  }
}

TEST(BpeTraining, RefusesALimitOrAFolderThatCannotWork) {
  const ScratchFolder scratch;
  const auto message_of = [](const BpeTrainOptions& options) -> std::string {
    try {
      BpeTrainer{options};
    } catch (const Error& error) {
      return error.message();
    }
    return "(no error)";
  };
  BpeTrainOptions options = options_of(10);
  options.memory_limit = 1000;
  EXPECT_EQ(message_of(options), "memory_limit is 1000, expected at least 1048576");
  options.memory_limit = 1 << 20;
  options.spill_folder = scratch.file("absent");
  EXPECT_NE(message_of(options).find(scratch.file("absent")), std::string::npos);
  options.spill_folder = scratch.path();
  EXPECT_EQ(message_of(options), "(no error)");
}

TEST(BpeTraining, RefusesAVocabularyOfPiecesThatCannotFit) {
  const ScratchFolder scratch;
  BpeTrainOptions options = options_of(100);
  options.memory_limit = uint64_t{1} << 20;
  options.spill_folder = scratch.path();
  std::vector<std::string> documents(30);
  std::mt19937_64 random(15);
  for (std::string& document : documents) {
    for (int i = 0; i < 2000; ++i) {
      document += ' ';
      for (int k = 0; k < 14; ++k) document += static_cast<char>('a' + random() % 26);
    }
  }
  try {
    train(options, documents);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::working_memory_exhausted);
    EXPECT_NE(error.message().find("different pieces of"), std::string::npos) << error.message();
    EXPECT_NE(error.message().find("are allowed"), std::string::npos) << error.message();
  }
  EXPECT_TRUE(list_directory(scratch.path()).empty());
}

// Stopping at any report leaves no file and the trainer as it was.
TEST(BpeTraining, CanBeStoppedAnywhere) {
  const ScratchFolder scratch;
  BpeTrainOptions options = options_of(200);
  options.memory_limit = uint64_t{1} << 20;
  options.spill_folder = scratch.path();
  const std::vector<std::string> documents = many_words();
  const std::vector<std::string_view> views(documents.begin(), documents.end());
  ThreadPool threads(ThreadPool::Options{});
  BpeTrainer trainer(options);
  trainer.add_documents(views, threads);
  const BpeTrainResult whole = trainer.train(threads, {});
  int n_reports = 0, stop_at = 1;
  Watch watch;
  watch.on_progress = [&](const Progress& progress) {
    EXPECT_LE(progress.done, progress.total);
    return ++n_reports < stop_at;
  };
  for (bool stopped = true; stopped; ++stop_at) {
    n_reports = 0;
    try {
      EXPECT_EQ(trainer.train(threads, watch).merges, whole.merges);
      stopped = false;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::cancelled);
    }
    EXPECT_TRUE(list_directory(scratch.path()).empty());
  }
  EXPECT_GT(stop_at, 8);
}

}  // namespace
}  // namespace nanochat
