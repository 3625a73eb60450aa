#include "attention_plan.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"

namespace nanochat::cuda {

namespace {

// Beyond these a sequence's queries go into wide tiles, whose blocks read each key once for more of them.
constexpr int64_t kMostNarrowTiles = 4;

int32_t clipped(int64_t n) { return static_cast<int32_t>(std::clamp<int64_t>(n, -1, kMostKeys)); }

int64_t keys_of(const SequenceRows& rows) {
  return rows.n_keys > 0 ? rows.n_keys : rows.position + rows.n_rows;
}

template <class T>
int64_t put(std::vector<std::byte>& tables, std::span<const T> values) {
  const size_t at = (tables.size() + 15) / 16 * 16;
  tables.resize(at + values.size_bytes());
  if (!values.empty()) std::memcpy(tables.data() + at, values.data(), values.size_bytes());
  return static_cast<int64_t>(at);
}

size_t power_of_two_above(size_t n) { return std::bit_ceil(std::max<size_t>(n, 1)); }

class Planner {
 public:
  Planner(const AttentionShape& shape, const TileSizes& sizes)
      : sight_(sight_of(shape)), group_(shape.n_head / shape.n_kv_head), sizes_(sizes) {}

  void add(const SequenceRows& rows) {
    if (rows.n_rows <= 0) return;
    const int64_t n_keys = keys_of(rows);
    const int64_t n_queries = rows.n_rows * group_;
    if (std::max({n_keys, rows.position + rows.n_rows, n_queries}) > kMostKeys) {
      throw Error(Status::unsupported)
          .subject("attention")
          .say("{} queries at position {} with {} keys: a GPU takes {} at most", n_queries, rows.position,
               n_keys, kMostKeys);
    }
    const PlannedSequence one{rows.first_row, static_cast<int32_t>(rows.n_rows),
                              static_cast<int32_t>(rows.position), static_cast<int32_t>(n_keys),
                              static_cast<int32_t>(pages_.size())};
    sequences_.push_back(one);
    pages_.insert(pages_.end(), rows.pages, rows.pages + page_count(n_keys));
    pages_.resize(static_cast<size_t>(one.first_page) +
                  power_of_two_above(pages_.size() - static_cast<size_t>(one.first_page)));
    if (is_wide(one, n_queries)) {
      cut_wide(n_queries);
    } else {
      cut_narrow(one, n_queries);
    }
  }

  AttentionPlan finish() {
    // Later tiles see more keys, as a rule: those blocks start first.
    std::reverse(wide_.begin(), wide_.end());
    end_pass();
    plan_.n_wide = std::ssize(wide_);
    plan_.n_narrow = std::ssize(narrow_);
    put<PlannedSequence>(plan_.tables, sequences_);
    plan_.pages_at = put<std::byte*>(plan_.tables, pages_);
    plan_.wide_at = put<PlannedTile>(plan_.tables, wide_);
    plan_.narrow_at = put<PlannedTile>(plan_.tables, narrow_);
    plan_.pieces_at = put<PlannedPiece>(plan_.tables, pieces_);
    return std::move(plan_);
  }

 private:
  int32_t this_sequence() const { return static_cast<int32_t>(sequences_.size()) - 1; }

  // Few queries with many keys would leave most of the machine without work.
  bool is_wide(const PlannedSequence& s, int64_t n_queries) const {
    if (sizes_.wide == 0 || n_queries <= sizes_.narrow) return false;
    if (n_queries > kMostNarrowTiles * sizes_.narrow) return true;
    return seen_blocks(sight_, s.position, s.position + s.n_rows - 1, s.n_keys, kChunkKeys).count() < 2;
  }

  void cut_wide(int64_t n_queries) {
    for (int64_t first = 0; first < n_queries; first += sizes_.wide) {
      wide_.push_back({this_sequence(), static_cast<int32_t>(first), 0, 0});
    }
  }

  void cut_narrow(const PlannedSequence& s, int64_t n_queries) {
    for (int64_t first = 0; first < n_queries; first += sizes_.narrow) {
      const int64_t n = std::min<int64_t>(sizes_.narrow, n_queries - first);
      const auto begin = static_cast<int32_t>(s.position + first / group_);
      const auto last = static_cast<int32_t>(s.position + (first + n - 1) / group_);
      const int32_t n_pieces = seen_blocks(sight_, begin, last, s.n_keys, kChunkKeys).count();
      const int64_t n_open = std::ssize(pieces_) - pass_piece_;
      if (n_open > 0 && (n_open + n_pieces) * sizes_.piece_bytes > sizes_.most_bytes) end_pass();
      const auto tile = static_cast<int32_t>(narrow_.size());
      narrow_.push_back({this_sequence(), static_cast<int32_t>(first),
                         static_cast<int32_t>(std::ssize(pieces_) - pass_piece_), n_pieces});
      for (int32_t slot = 0; slot < n_pieces; ++slot) pieces_.push_back({tile, slot});
      merges_ = merges_ || n_pieces > 1;
      plan_.most_queries = std::max(plan_.most_queries, static_cast<int32_t>(n));
    }
  }

  void end_pass() {
    const int64_t n_tiles = std::ssize(narrow_) - pass_tile_;
    if (n_tiles == 0) return;
    const auto n_pieces = static_cast<size_t>(std::ssize(pieces_) - pass_piece_);
    pieces_.resize(pieces_.size() - n_pieces + power_of_two_above(n_pieces), {-1, 0});
    plan_.passes.push_back({pass_tile_, n_tiles, pass_piece_, std::ssize(pieces_) - pass_piece_, merges_});
    pass_tile_ = std::ssize(narrow_);
    pass_piece_ = std::ssize(pieces_);
    merges_ = false;
  }

  const Sight sight_;
  const int64_t group_;
  const TileSizes sizes_;
  AttentionPlan plan_;
  std::vector<PlannedSequence> sequences_;
  std::vector<std::byte*> pages_;
  std::vector<PlannedTile> wide_, narrow_;
  std::vector<PlannedPiece> pieces_;
  int64_t pass_tile_ = 0, pass_piece_ = 0;  // where the open pass begins
  bool merges_ = false;
};

}  // namespace

Sight sight_of(const AttentionShape& shape) {
  return {clipped(shape.window_left), clipped(shape.window_right),
          clipped(std::max<int64_t>(shape.global_keys, 0))};
}

AttentionPlan plan_attention(std::span<const SequenceRows> sequences, const AttentionShape& shape,
                             const TileSizes& sizes) {
  Planner planner(shape, sizes);
  for (const SequenceRows& rows : sequences) planner.add(rows);
  return planner.finish();
}

std::vector<PlannedAppend> plan_appends(std::span<const SequenceRows> sequences) {
  std::vector<PlannedAppend> appends;
  for (const SequenceRows& rows : sequences) {
    for (int64_t row = 0; row < rows.n_rows;) {
      const int64_t position = rows.position + row, first_key = position % kPagePositions;
      const int64_t n = std::min(rows.n_rows - row, kPagePositions - first_key);
      appends.push_back({rows.pages[position / kPagePositions], rows.first_row + row,
                         static_cast<int32_t>(first_key), static_cast<int32_t>(n)});
      row += n;
    }
  }
  return appends;
}

}  // namespace nanochat::cuda
