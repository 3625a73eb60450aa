// Pieces and their counts in a temporary file, sorted by bytes, each once: what a table becomes when it is
// full. Runs are read side by side, so that equal pieces meet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/cancel.h"
#include "base/temporary_file.h"
#include "base/thread_pool.h"
#include "tokenizer/piece_table.h"

namespace nanochat {

class PieceRun {
 public:
  explicit PieceRun(const std::string& folder) : file_(std::make_unique<TemporaryFile>(folder)) {}

  void append(std::string_view piece, uint64_t count);  // pieces in ascending order
  void finish();                                        // writes what is still in the buffer
  const TemporaryFile& file() const { return *file_; }

 private:
  void put(std::string_view bytes);

  std::unique_ptr<TemporaryFile> file_;
  std::string buffer_;
};

// The pieces of the table. Looks at the cancel switch every few milliseconds.
PieceRun write_run(const PieceTable& table, const std::string& folder, const Watch& watch);
// What write_run() takes besides the table.
uint64_t write_run_bytes(size_t n_pieces);

using VisitPiece = FunctionRef<void(std::string_view piece, uint64_t count)>;

// All runs as one: each different piece once, with the sum of its counts, in ascending order. Each run is
// read through a buffer of `buffer_bytes`.
void merge_runs(std::span<const PieceRun> runs, size_t buffer_bytes, const Watch& watch, VisitPiece visit);

}  // namespace nanochat
