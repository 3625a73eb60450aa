#include "tokenizer/piece_counter.h"

#include <atomic>
#include <cerrno>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "unit/io/scratch_folder.h"

namespace nanochat {
namespace {

using Counts = std::map<std::string, uint64_t>;

struct FaultCleared {
  ~FaultCleared() { set_file_fault(nullptr); }
};

ThreadPool::Options n_threads(int n) {
  ThreadPool::Options options;
  options.n_threads = n;
  return options;
}

std::string random_piece(std::mt19937_64& random) {
  const size_t size = 1 + random() % (random() % 8 == 0 ? 40 : 6);
  std::string piece;
  for (size_t i = 0; i < size; ++i)
    piece += static_cast<char>(random() % 5 == 0 ? random() : 'a' + random() % 3);
  return piece;
}

std::vector<std::string> random_documents(size_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::string> documents(n);
  for (std::string& document : documents) {
    const size_t n_words = random() % 300;
    for (size_t i = 0; i < n_words; ++i) document += " w" + std::to_string(random() % 40000);
  }
  return documents;
}

Counts counts_of(const std::vector<std::string>& documents) {
  Counts counts;
  for (const std::string& text : documents) {
    for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
      end = piece_end(SplitPattern::gpt2, text, begin);
      ++counts[text.substr(begin, end - begin)];
    }
  }
  return counts;
}

// Each piece once, or it fails.
Counts visited(PieceCounter& counter, const Watch& watch = {}) {
  Counts counts;
  counter.visit_pieces(watch, [&](std::string_view piece, uint64_t n) {
    EXPECT_TRUE(counts.emplace(piece, n).second) << piece;
  });
  return counts;
}

PieceCounterOptions options_with(uint64_t max_bytes, const std::string& folder) {
  PieceCounterOptions options;
  options.pattern = SplitPattern::gpt2;
  options.max_bytes = max_bytes;
  options.spill_folder = folder;
  return options;
}

TEST(PieceTable, CountsLikeAMap) {
  std::mt19937_64 random(1);
  PieceTable table;
  Counts expected;
  for (int i = 0; i < 200000; ++i) {
    const std::string piece = random_piece(random);
    const uint64_t n = random() % 4;
    ASSERT_TRUE(table.add(piece, n));
    if (n > 0) expected[piece] += n;
  }
  Counts found;
  for (size_t i = 0; i < table.n_entries(); ++i) {
    const PieceTable::Piece piece = table.entry(i);
    if (piece.count > 0) {
      EXPECT_TRUE(found.emplace(piece.text, piece.count).second);
    }
  }
  EXPECT_EQ(found, expected);
  EXPECT_EQ(table.size(), expected.size());
}

TEST(PieceTable, TellsPiecesOfEveryLengthApart) {
  PieceTable table;
  const std::string zeros(64, '\0');
  for (size_t size = 1; size <= zeros.size(); ++size) ASSERT_TRUE(table.add(zeros.substr(0, size), size));
  std::vector<uint64_t> counts(zeros.size() + 1);
  for (size_t i = 0; i < table.n_entries(); ++i) {
    if (table.entry(i).count > 0) counts[table.entry(i).text.size()] = table.entry(i).count;
  }
  for (size_t size = 1; size <= zeros.size(); ++size) EXPECT_EQ(counts[size], size);
}

TEST(PieceTable, NeverTakesMoreThanItsLimit) {
  std::mt19937_64 random(2);
  PieceTable table(1 << 18);
  size_t n_refused = 0;
  for (int i = 0; i < 100000; ++i) {
    n_refused += !table.add(random_piece(random), 1);
    ASSERT_LE(table.bytes(), 1u << 18);
  }
  EXPECT_GT(n_refused, 1000u);
  EXPECT_GT(table.size(), 2000u);
}

TEST(PieceCounter, GivesTheSameCountsWithinAnyLimit) {
  const ScratchFolder scratch;
  const std::vector<std::string> documents = random_documents(600, 3);
  const std::vector<std::string_view> views(documents.begin(), documents.end());
  const Counts expected = counts_of(documents);
  for (const int threads : {1, 3}) {
    for (const uint64_t limit :
         {PieceTable::kNoLimit, uint64_t{1} << 24, uint64_t{1} << 19, uint64_t{1} << 10}) {
      ThreadPool pool(n_threads(threads));
      PieceCounter counter(options_with(limit, scratch.path()));
      counter.add_texts(views, pool, {});
      EXPECT_EQ(visited(counter), expected) << threads << " threads, " << limit;
      EXPECT_EQ(visited(counter), expected) << "again";
      EXPECT_EQ(counter.n_runs() > 0, limit < uint64_t{1} << 20);
      EXPECT_TRUE(list_directory(scratch.path()).empty());
    }
  }
}

TEST(PieceCounter, MergesRunsWhenTheyBecomeMany) {
  const ScratchFolder scratch;
  PieceCounter counter(options_with(1 << 18, scratch.path()));
  ThreadPool pool(n_threads(1));
  const Watch watch;
  Counts expected;
  for (int round = 0; round < 200; ++round) {  // each round ends in a run of its own
    counter.parallel_for(1, pool, watch, [&](int64_t, PieceCounter::Worker& worker) {
      for (int i = 0; i < 50; ++i) {
        const std::string piece = "p" + std::to_string(round * 20 + i);
        worker.add_piece(piece, 3);
        expected[piece] += 3;
      }
    });
    counter.spill_all(watch);
    EXPECT_LE(counter.n_runs(), 64u);
  }
  EXPECT_EQ(visited(counter), expected);
}

TEST(PieceCounter, WritesAPieceThatIsLongerThanItsTable) {
  const ScratchFolder scratch;
  PieceCounter counter(options_with(1 << 18, scratch.path()));
  const std::string piece(3000000, 'x');
  const Watch watch;
  {
    PieceCounter::Worker worker(counter, watch);
    worker.add_piece("a", 1);
    worker.add_piece(piece, 2);
    worker.add_piece("a", 1);
    worker.add_piece(piece, 5);
  }
  EXPECT_EQ(visited(counter), (Counts{{"a", 2}, {piece, 7}}));
}

TEST(PieceCounter, CutsALongTextWhereItMakesNoDifference) {
  std::string text;
  std::mt19937_64 random(4);
  while (text.size() < 3 * kCountBlockBytes) {
    text += random() % 1000 == 0 ? std::string(random() % 5000, ' ') : random_piece(random) + " ";
  }
  for (const SplitPattern pattern : {SplitPattern::nanochat, SplitPattern::gpt2, SplitPattern::o200k}) {
    const SplitRules& rules = split_rules(pattern);
    std::vector<size_t> whole, blocks;
    for (size_t end = 0; end < text.size(); whole.push_back(end)) end = piece_end(rules, text, end);
    size_t begin = 0, n_blocks = 0;
    cut_into_blocks(rules, text, [&](std::string_view block) {
      ++n_blocks;
      for (size_t end = 0; end < block.size(); blocks.push_back(begin + end))
        end = piece_end(rules, block, end);
      begin += block.size();
    });
    EXPECT_EQ(whole, blocks);
    EXPECT_GE(n_blocks, 3u);
  }
}

TEST(PieceCounter, SaysThatTheDiskIsFullAndLeavesNothing) {
  const ScratchFolder scratch;
  const std::vector<std::string> documents = random_documents(300, 5);
  const std::vector<std::string_view> views(documents.begin(), documents.end());
  const FaultCleared cleared;
  for (const int failing : {1, 2, 5}) {
    std::atomic<int> n_writes = 0;
    set_file_fault([&](const char* call, const std::string&) {
      return std::string_view(call) == "write" && ++n_writes == failing ? ENOSPC : 0;
    });
    ThreadPool pool(n_threads(2));
    PieceCounter counter(options_with(1 << 18, scratch.path()));
    try {
      counter.add_texts(views, pool, {});
      ADD_FAILURE() << "no error, " << n_writes << " writes";
    } catch (const Error& error) {
      EXPECT_EQ(error.os_code(), ENOSPC);
      EXPECT_NE(error.message().find(scratch.path()), std::string::npos) << error.message();
    }
    EXPECT_TRUE(list_directory(scratch.path()).empty());
  }
}

TEST(PieceCounter, KeepsItsCountsWhenAVisitIsStopped) {
  const ScratchFolder scratch;
  const std::vector<std::string> documents = random_documents(400, 6);
  const std::vector<std::string_view> views(documents.begin(), documents.end());
  const Counts expected = counts_of(documents);
  for (const uint64_t limit : {PieceTable::kNoLimit, uint64_t{1} << 19}) {
    ThreadPool pool(n_threads(3));
    PieceCounter counter(options_with(limit, scratch.path()));
    counter.add_texts(views, pool, {});
    CancelToken cancel;
    cancel.request();
    Watch watch;
    watch.cancel = &cancel;
    EXPECT_THROW(visited(counter, watch), Error);
    EXPECT_THROW(visited(counter, watch), Error);
    EXPECT_EQ(visited(counter), expected);
    counter.add_texts(views, pool, {});  // and goes on from there
    Counts twice = expected;
    for (auto& [piece, n] : twice) n *= 2;
    EXPECT_EQ(visited(counter), twice);
  }
}

}  // namespace
}  // namespace nanochat
