#include "attention_plan.h"

#include <bit>
#include <cstring>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "base/error.h"

namespace nanochat::cuda {
namespace {

constexpr TileSizes kSizes{64, 16, 1000, 1 << 20};

AttentionShape shape_of(int64_t n_head, int64_t n_kv_head, int64_t left, int64_t right = 0,
                        int64_t global = 0) {
  AttentionShape shape{n_head, n_kv_head, 64, left, 1.0F};
  shape.window_right = right;
  shape.global_keys = global;
  return shape;
}

// Sequences with pages of addresses that are never read.
class Batch {
 public:
  void add(int64_t n_rows, int64_t position, int64_t n_keys = 0) {
    const int64_t keys = n_keys > 0 ? n_keys : position + n_rows;
    auto& pages = pages_.emplace_back();
    for (int64_t page = 0; page < page_count(keys); ++page) {
      pages.push_back(reinterpret_cast<std::byte*>(((pages_.size() << 20) + static_cast<size_t>(page)) << 8));
    }
    rows_.push_back({n_rows_, n_rows, position, nullptr, nullptr, n_keys});
    n_rows_ += n_rows;
  }
  std::span<const SequenceRows> rows() {
    for (size_t i = 0; i < rows_.size(); ++i) rows_[i].pages = pages_[i].data();
    return rows_;
  }

 private:
  std::vector<std::vector<std::byte*>> pages_;
  std::vector<SequenceRows> rows_;
  int64_t n_rows_ = 0;
};

template <class T>
T entry(const AttentionPlan& plan, int64_t at, int64_t index) {
  T value;
  std::memcpy(&value, plan.tables.data() + at + index * static_cast<int64_t>(sizeof(T)), sizeof value);
  return value;
}

bool sees(const AttentionShape& shape, int64_t query, int64_t key) {
  if (key < shape.global_keys) return true;
  return (shape.window_left < 0 || key >= query - shape.window_left) &&
         (shape.window_right < 0 || key <= query + shape.window_right);
}

// What a tile takes: of each of its queries once, and of a narrow one each chunk once that a query sees.
void check_plan(const AttentionShape& shape, std::span<const SequenceRows> rows, const AttentionPlan& plan) {
  const int64_t group = shape.n_head / shape.n_kv_head;
  std::set<std::pair<int64_t, int64_t>> queries;  // row of the batch, head of the group
  const auto take = [&](const PlannedTile& tile, int32_t most) {
    const auto s = entry<PlannedSequence>(plan, 0, tile.sequence);
    const int64_t n = std::min<int64_t>(most, s.n_rows * group - tile.first_query);
    EXPECT_GT(n, 0);
    for (int64_t i = tile.first_query; i < tile.first_query + n; ++i) {
      EXPECT_TRUE(queries.emplace(s.first_row + i / group, i % group).second);
    }
    return std::pair{s, n};
  };
  for (int64_t i = 0; i < plan.n_wide; ++i) take(entry<PlannedTile>(plan, plan.wide_at, i), kSizes.wide);

  int64_t n_tiles = 0, n_pieces = 0;
  for (const NarrowPass& pass : plan.passes) {
    EXPECT_EQ(pass.first_tile, n_tiles);
    EXPECT_EQ(pass.first_piece, n_pieces);
    EXPECT_TRUE(std::has_single_bit(static_cast<uint64_t>(pass.n_pieces)));
    int64_t next = 0;
    bool merges = false;
    for (int64_t i = pass.first_tile; i < pass.first_tile + pass.n_tiles; ++i) {
      const auto tile = entry<PlannedTile>(plan, plan.narrow_at, i);
      const auto [s, n] = take(tile, kSizes.narrow);
      EXPECT_LE(n, plan.most_queries);
      EXPECT_EQ(tile.first_piece, next);
      const int64_t begin = s.position + tile.first_query / group;
      const int64_t last = s.position + (tile.first_query + n - 1) / group;
      const SeenBlocks seen = seen_blocks(sight_of(shape), static_cast<int32_t>(begin),
                                          static_cast<int32_t>(last), s.n_keys, kChunkKeys);
      std::set<int32_t> chunks;
      for (int32_t slot = 0; slot < tile.n_pieces; ++slot, ++next) {
        const auto piece = entry<PlannedPiece>(plan, plan.pieces_at, pass.first_piece + next);
        EXPECT_EQ(piece.tile, i);
        EXPECT_EQ(piece.slot, slot);
        EXPECT_TRUE(chunks.empty() || *chunks.rbegin() < seen.at(slot)) << "in ascending order";
        chunks.insert(seen.at(slot));
      }
      for (int64_t query = begin; query <= last; ++query) {
        for (int64_t key = 0; key < s.n_keys; ++key) {
          ASSERT_TRUE(!sees(shape, query, key) || chunks.count(static_cast<int32_t>(key / kChunkKeys)) == 1);
        }
      }
      merges = merges || tile.n_pieces > 1;
    }
    EXPECT_EQ(pass.merges, merges);
    for (; next < pass.n_pieces; ++next) {
      EXPECT_EQ(entry<PlannedPiece>(plan, plan.pieces_at, pass.first_piece + next).tile, -1);
    }
    n_tiles += pass.n_tiles;
    n_pieces += pass.n_pieces;
  }
  EXPECT_EQ(n_tiles, plan.n_narrow);
  int64_t n_queries = 0;
  for (const SequenceRows& one : rows) n_queries += std::max<int64_t>(one.n_rows, 0) * group;
  EXPECT_EQ(std::ssize(queries), n_queries);
}

TEST(AttentionPlan, TakesEachQueryOnceAndOfItsKeysEachChunkThatItSees) {
  for (const AttentionShape& shape : {shape_of(8, 8, -1), shape_of(8, 2, 700), shape_of(24, 1, -1, -1),
                                      shape_of(4, 4, 100, 100, 70), shape_of(5, 1, 0, 0, 1100)}) {
    Batch batch;
    batch.add(1, 0);
    batch.add(1, 3000);
    batch.add(0, 17);
    batch.add(300, 0);
    batch.add(7, 2040);
    batch.add(40, 513);
    batch.add(1, 5, 1600);
    const AttentionPlan plan = plan_attention(batch.rows(), shape, kSizes);
    check_plan(shape, batch.rows(), plan);
    EXPECT_GT(plan.n_wide, 0);
    EXPECT_GT(plan.n_narrow, 0);
  }
}

TEST(AttentionPlan, BlocksSeenAreThoseOfWindowsAndGlobalKeysWithoutOverlap) {
  for (const AttentionShape& shape : {shape_of(1, 1, -1), shape_of(1, 1, 3), shape_of(1, 1, 70, 70, 1),
                                      shape_of(1, 1, 0, 0, 200), shape_of(1, 1, 10, -1, 64)}) {
    for (const int32_t n_keys : {1, 64, 65, 300}) {
      for (int32_t begin = 0; begin < n_keys; begin += 7) {
        const int32_t last = std::min(begin + 20, n_keys - 1);
        const SeenBlocks seen = seen_blocks(sight_of(shape), begin, last, n_keys, 64);
        std::set<int32_t> blocks;
        for (int32_t slot = 0; slot < seen.count(); ++slot) {
          EXPECT_TRUE(blocks.insert(seen.at(slot)).second);
          EXPECT_TRUE(seen.has(seen.at(slot)));
          EXPECT_LT(seen.at(slot) * 64, n_keys);
        }
        for (int32_t query = begin; query <= last; ++query) {
          for (int32_t key = 0; key < n_keys; ++key) {
            EXPECT_TRUE(!sees(shape, query, key) || blocks.count(key / 64) == 1) << query << " sees " << key;
          }
        }
      }
    }
  }
}

TEST(AttentionPlan, ALoneQueryWithManyKeysIsCutAcrossTheMachine) {
  Batch batch;
  batch.add(1, 8191);
  const AttentionPlan plan = plan_attention(batch.rows(), shape_of(8, 8, -1), kSizes);
  EXPECT_EQ(plan.n_wide, 0);
  ASSERT_EQ(plan.passes.size(), 1U);
  EXPECT_EQ(plan.passes[0].n_pieces, 16);
}

TEST(AttentionPlan, TheNextStepOfAGenerationDiffersInTheContentsOfTheTablesAlone) {
  Batch now, next;
  for (const int64_t position : {900, 1000}) {
    now.add(1, position);
    next.add(1, position + 1);
  }
  const AttentionShape shape = shape_of(8, 2, -1);
  const AttentionPlan a = plan_attention(now.rows(), shape, kSizes),
                      b = plan_attention(next.rows(), shape, kSizes);
  EXPECT_EQ(a.tables.size(), b.tables.size());
  EXPECT_EQ(a.pages_at, b.pages_at);
  EXPECT_EQ(a.narrow_at, b.narrow_at);
  EXPECT_EQ(a.pieces_at, b.pieces_at);
  EXPECT_EQ(a.passes[0].n_pieces, b.passes[0].n_pieces);
}

TEST(AttentionPlan, WhatPiecesLeaveBehindIsBoundedByPasses) {
  TileSizes sizes = kSizes;
  sizes.wide = 0;
  sizes.most_bytes = 10 * sizes.piece_bytes;
  Batch batch;
  for (int i = 0; i < 9; ++i) batch.add(20, 1600);
  batch.add(1, 9000);  // more than a pass may have
  const AttentionShape shape = shape_of(1, 1, -1);
  const AttentionPlan plan = plan_attention(batch.rows(), shape, sizes);
  EXPECT_EQ(plan.n_wide, 0);
  EXPECT_GE(plan.passes.size(), 9U);
  check_plan(shape, batch.rows(), plan);
}

TEST(AttentionPlan, RefusesPositionsPastWhatItsKernelsCount) {
  const SequenceRows rows{0, 1, kMostKeys, nullptr, nullptr};
  EXPECT_THROW(plan_attention({&rows, 1}, shape_of(1, 1, -1), kSizes), Error);
}

TEST(AttentionPlan, WindowsBeyondEveryPositionSeeAll) {
  const Sight sight = sight_of(shape_of(1, 1, int64_t{1} << 60, int64_t{1} << 60));
  EXPECT_EQ(sight.first_key(1 << 29), 0);
  EXPECT_EQ(sight.end_key(1 << 29, 1 << 30), 1 << 30);
}

TEST(AppendPlan, EachRowGoesIntoItsPageOnce) {
  Batch batch;
  batch.add(1, 63);
  batch.add(200, 30);
  batch.add(0, 5);
  batch.add(64, 64);
  std::map<std::byte*, std::set<int64_t>> keys;  // of each page
  std::set<int64_t> rows;
  for (const PlannedAppend& append : plan_appends(batch.rows())) {
    EXPECT_GT(append.n_keys, 0);
    EXPECT_LE(append.first_key + append.n_keys, kPagePositions);
    for (int32_t i = 0; i < append.n_keys; ++i) {
      EXPECT_TRUE(rows.insert(append.first_row + i).second);
      EXPECT_TRUE(keys[append.page].insert(append.first_key + i).second);
    }
  }
  EXPECT_EQ(rows.size(), 265U);
  for (const SequenceRows& one : batch.rows()) {
    for (int64_t row = 0; row < one.n_rows; ++row) {
      const int64_t position = one.position + row;
      EXPECT_EQ(keys[one.pages[position / 64]].count(position % 64), 1U);
    }
  }
}

}  // namespace
}  // namespace nanochat::cuda
