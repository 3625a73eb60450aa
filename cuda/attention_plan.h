// Which block of a grid takes which queries and keys: arithmetic on the host, and the tables that kernels
// read.
//
// The queries that one key-value head serves are numbered row * (heads of its group) + head, from the first
// row of their sequence in the batch. A tile is some queries in a row. Wide tiles visit all keys that they
// see; narrow ones are cut into chunks of keys, a block each, and what the chunks give is merged. A query
// gets the same operations either way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "tensor/kernels.h"

namespace nanochat::cuda {

inline constexpr int32_t kPagesOfChunk = 8;
inline constexpr int32_t kPageKeys = static_cast<int32_t>(kPagePositions);
inline constexpr int32_t kChunkKeys = kPagesOfChunk * kPageKeys;
inline constexpr int64_t kMostKeys = int64_t{1} << 30;  // so that sums of positions and windows are int32

// What a query sees; -1: all.
struct Sight {
  int32_t window_left, window_right, global_keys;

  constexpr int32_t first_key(int32_t position) const {
    return window_left < 0 || position < window_left ? 0 : position - window_left;
  }
  constexpr int32_t end_key(int32_t position, int32_t n_keys) const {
    return window_right < 0 || position + window_right >= n_keys ? n_keys : position + window_right + 1;
  }
  constexpr int32_t globals_end(int32_t n_keys) const { return global_keys < n_keys ? global_keys : n_keys; }
};

// Blocks of keys that are seen: 0..globals_end-1 and first..end-1, which do not overlap.
struct SeenBlocks {
  int32_t globals_end, first, end;

  constexpr int32_t count() const { return globals_end + end - first; }
  constexpr int32_t at(int32_t slot) const { return slot < globals_end ? slot : first + slot - globals_end; }
  constexpr bool has(int32_t block) const { return block < globals_end || (block >= first && block < end); }
};

// By the queries at positions begin..last of a sequence with n_keys keys.
constexpr SeenBlocks seen_blocks(const Sight& sight, int32_t begin, int32_t last, int32_t n_keys,
                                 int32_t block_keys) {
  const int32_t globals = (sight.globals_end(n_keys) + block_keys - 1) / block_keys;
  int32_t first = sight.first_key(begin) / block_keys;
  int32_t end = (sight.end_key(last, n_keys) + block_keys - 1) / block_keys;
  if (first < globals) first = globals;
  if (end < first) end = first;
  return {globals, first, end};
}

struct PlannedSequence {
  int64_t first_row;
  int32_t n_rows, position, n_keys;
  int32_t first_page;  // in the table of pages
};

struct PlannedTile {
  int32_t sequence, first_query;
  int32_t first_piece, n_pieces;  // of a narrow one
};

// A block of the grid for narrow tiles; it takes slot `slot` of the chunks that its tile sees.
struct PlannedPiece {
  int32_t tile, slot;  // tile -1: nothing to do
};

// Tiles whose pieces' results are in memory at a time.
struct NarrowPass {
  int64_t first_tile, n_tiles, first_piece, n_pieces;  // pieces that do nothing included
  bool merges;                                         // a tile has several pieces
};

struct TileSizes {
  int32_t wide;    // queries of a wide tile; 0: there are none
  int32_t narrow;  // of a narrow one
  int64_t piece_bytes;
  int64_t most_bytes;  // that the pieces of a pass may leave behind, unless a single tile has more
};

struct AttentionPlan {
  std::vector<std::byte> tables;  // sequences, pages, tiles, pieces, at these places:
  int64_t pages_at = 0, wide_at = 0, narrow_at = 0, pieces_at = 0;
  int64_t n_wide = 0, n_narrow = 0;
  int32_t most_queries = 0;  // of a narrow tile
  std::vector<NarrowPass> passes;
};

// Windows and counts as kernels take them.
Sight sight_of(const AttentionShape& shape);
// The numbers of pages and pieces are rounded up to powers of two, so that the steps of a generation differ
// in the contents of the tables alone.
AttentionPlan plan_attention(std::span<const SequenceRows> sequences, const AttentionShape& shape,
                             const TileSizes& sizes);

// Rows of one sequence that go into one page.
struct PlannedAppend {
  std::byte* page;
  int64_t first_row;
  int32_t first_key, n_keys;
};
std::vector<PlannedAppend> plan_appends(std::span<const SequenceRows> sequences);

}  // namespace nanochat::cuda
