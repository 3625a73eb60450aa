// Counts the pieces of a corpus with all threads, each with a table of its own, within a limit of memory:
// a table that has reached its share goes to a temporary file, sorted, and begins anew.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/cancel.h"
#include "base/thread_pool.h"
#include "tokenizer/piece_run.h"
#include "tokenizer/piece_table.h"
#include "tokenizer/split_scanner.h"

namespace nanochat {

struct PieceCounterOptions {
  SplitPattern pattern = SplitPattern::nanochat;
  uint64_t max_bytes = PieceTable::kNoLimit;  // of all tables together, and of what writing them takes
  std::string spill_folder;                   // used only with a limit
};

class PieceCounter {
 public:
  explicit PieceCounter(PieceCounterOptions options);

  // What one thread counts with. Ends before the counter's other functions are called.
  class Worker {
   public:
    Worker(PieceCounter& counter, const Watch& watch);
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    void add_text(std::string_view text);  // a document, or a part that ends where a piece ends
    void add_piece(std::string_view piece, uint64_t n);

   private:
    PieceCounter& counter_;
    const Watch& watch_;
    std::unique_ptr<PieceTable> table_;
  };

  // Runs body(i, worker) for i in [0, n), in any order, on the pool's threads, or on fewer where the limit
  // has no room for a table each.
  void parallel_for(int64_t n, ThreadPool& threads, const Watch& watch,
                    FunctionRef<void(int64_t, Worker&)> body);

  // Texts of any length, cut into blocks for the threads.
  void add_texts(std::span<const std::string_view> texts, ThreadPool& threads, const Watch& watch);

  // Each different piece once, in an order of no meaning. The counts stay, also when this is stopped.
  void visit_pieces(const Watch& watch, VisitPiece visit);

  uint64_t bytes() const;              // of the tables
  void spill_all(const Watch& watch);  // bytes() is next to nothing afterwards; needs a spill folder
  uint64_t reading_bytes() const;      // what visit_pieces() takes besides
  size_t n_runs() const { return runs_.size(); }

 private:
  int set_n_workers(int n, const Watch& watch);  // gives how many there may be
  uint64_t table_bytes() const;
  void add_to_full(PieceTable& table, std::string_view piece, uint64_t n, const Watch& watch);
  void spill(PieceTable& table, const Watch& watch);
  void add_run(PieceRun run);
  void merge_many_runs(const Watch& watch);
  void fold_tables(const Watch& watch);
  void finish_folding(const Watch& watch);
  size_t read_buffer_bytes() const;

  PieceCounterOptions options_;
  int n_workers_ = 1;
  std::mutex mutex_;                                 // guards tables_ and runs_ while workers exist
  std::vector<std::unique_ptr<PieceTable>> tables_;  // those no worker holds
  std::unique_ptr<PieceTable> folding_;              // partly added to tables_[0] already
  size_t next_folded_ = 0;                           // its first entry that is not
  std::vector<PieceRun> runs_;
};

// The bytes of a text that one thread takes at a time.
inline constexpr size_t kCountBlockBytes = size_t{1} << 18;

// Cuts a text where pieces end, in blocks of about kCountBlockBytes, and hands them over in order.
void cut_into_blocks(const SplitRules& rules, std::string_view text,
                     FunctionRef<void(std::string_view)> take);

}  // namespace nanochat
