#include "tokenizer/piece_counter.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace nanochat {

namespace {

// Below this share a thread would write runs of a few thousand pieces: fewer threads count then.
constexpr uint64_t kMinShare = uint64_t{1} << 18;
constexpr size_t kMaxRuns = 64, kRunsMergedAtOnce = 48;
constexpr size_t kMinReadBytes = 4096, kMaxReadBytes = size_t{1} << 18;
constexpr size_t kPiecesPerCheck = 8192;
// What the threads count between two looks at the calling thread's duties.
constexpr size_t kGroupBlocks = 16, kGroupTexts = size_t{1} << 16;

}  // namespace

void cut_into_blocks(const SplitRules& rules, std::string_view text,
                     FunctionRef<void(std::string_view)> take) {
  size_t window = kCountBlockBytes;
  for (size_t begin = 0; begin < text.size();) {
    const std::string_view rest = text.substr(begin);
    size_t size = rest.size();
    if (window < size) {
      size = final_pieces_end(rules, rest.substr(0, window));
      if (size == 0) {  // one piece is longer than this
        window *= 2;
        continue;
      }
    }
    take(rest.substr(0, size));
    begin += size;
    window = kCountBlockBytes;
  }
}

PieceCounter::PieceCounter(PieceCounterOptions options) : options_(std::move(options)) { tables_.reserve(1); }

PieceCounter::Worker::Worker(PieceCounter& counter, const Watch& watch) : counter_(counter), watch_(watch) {
  const std::lock_guard lock(counter_.mutex_);
  if (counter_.tables_.empty()) {
    table_ = std::make_unique<PieceTable>(counter_.table_bytes());
  } else {
    table_ = std::move(counter_.tables_.back());
    counter_.tables_.pop_back();
  }
}

// There is room for it: as many tables as workers were reserved.
PieceCounter::Worker::~Worker() {
  const std::lock_guard lock(counter_.mutex_);
  counter_.tables_.push_back(std::move(table_));
}

void PieceCounter::Worker::add_piece(std::string_view piece, uint64_t n) {
  if (!table_->add(piece, n)) counter_.add_to_full(*table_, piece, n, watch_);
}

void PieceCounter::Worker::add_text(std::string_view text) {
  watch_.check();
  const SplitRules& rules = split_rules(counter_.options_.pattern);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = piece_end(rules, text, begin);
    add_piece(text.substr(begin, end - begin), 1);
    begin = end;
  }
}

void PieceCounter::add_to_full(PieceTable& table, std::string_view piece, uint64_t n, const Watch& watch) {
  spill(table, watch);
  if (table.add(piece, n)) return;
  PieceRun run(options_.spill_folder);  // too long for any table
  run.append(piece, n);
  run.finish();
  add_run(std::move(run));
}

// So that the table and what write_run() takes for it stay within the worker's share.
uint64_t PieceCounter::table_bytes() const {
  if (options_.max_bytes == PieceTable::kNoLimit) return PieceTable::kNoLimit;
  const uint64_t share = std::max(kMinShare, options_.max_bytes / static_cast<uint64_t>(n_workers_));
  return (share - write_run_bytes(0)) / 8 * 7;
}

int PieceCounter::set_n_workers(int n, const Watch& watch) {
  if (options_.max_bytes != PieceTable::kNoLimit) {
    n = static_cast<int>(std::clamp<uint64_t>(options_.max_bytes / kMinShare, 1, static_cast<uint64_t>(n)));
  }
  if (n <= n_workers_) return n;
  tables_.reserve(static_cast<size_t>(n));
  n_workers_ = n;
  for (const auto& table : tables_) {
    if (table->bytes() > table_bytes()) spill(*table, watch);
    table->set_max_bytes(table_bytes());
  }
  return n;
}

void PieceCounter::parallel_for(int64_t n, ThreadPool& threads, const Watch& watch,
                                FunctionRef<void(int64_t, Worker&)> body) {
  finish_folding(watch);
  const int n_workers = set_n_workers(threads.n_threads(), watch);
  const int64_t grain = n_workers < threads.n_threads() ? (n + n_workers - 1) / n_workers : 1;
  threads.parallel_for(n, std::max<int64_t>(grain, 1), [&](int64_t begin, int64_t end) {
    Worker worker(*this, watch);
    for (int64_t i = begin; i < end; ++i) body(i, worker);
  });
  if (runs_.size() > kMaxRuns) merge_many_runs(watch);
}

void PieceCounter::add_texts(std::span<const std::string_view> texts, ThreadPool& threads,
                             const Watch& watch) {
  std::vector<std::string_view> blocks;
  size_t bytes = 0;
  const size_t group_bytes = kGroupBlocks * kCountBlockBytes * static_cast<size_t>(threads.n_threads());
  const auto count = [&] {
    parallel_for(static_cast<int64_t>(blocks.size()), threads, watch,
                 [&](int64_t i, Worker& worker) { worker.add_text(blocks[static_cast<size_t>(i)]); });
    blocks.clear();
    bytes = 0;
  };
  for (const std::string_view text : texts) {
    cut_into_blocks(split_rules(options_.pattern), text, [&](std::string_view block) {
      blocks.push_back(block);
      bytes += block.size();
      if (bytes >= group_bytes || blocks.size() == kGroupTexts) count();
    });
  }
  count();
}

void PieceCounter::spill(PieceTable& table, const Watch& watch) {
  if (table.size() == 0) return;
  add_run(write_run(table, options_.spill_folder, watch));
  table.clear();
}

void PieceCounter::add_run(PieceRun run) {
  const std::lock_guard lock(mutex_);
  runs_.push_back(std::move(run));
}

void PieceCounter::spill_all(const Watch& watch) {
  finish_folding(watch);
  for (const auto& table : tables_) spill(*table, watch);
  if (runs_.size() > kMaxRuns) merge_many_runs(watch);
}

// The smallest ones, so that what is large is not read again and again.
void PieceCounter::merge_many_runs(const Watch& watch) {
  while (runs_.size() > kMaxRuns) {
    std::sort(runs_.begin(), runs_.end(),
              [](const PieceRun& a, const PieceRun& b) { return a.file().size() > b.file().size(); });
    PieceRun merged(options_.spill_folder);
    const std::span<const PieceRun> small(runs_.end() - kRunsMergedAtOnce, runs_.end());
    merge_runs(small, read_buffer_bytes(), watch,
               [&](std::string_view piece, uint64_t n) { merged.append(piece, n); });
    merged.finish();
    runs_.erase(runs_.end() - kRunsMergedAtOnce, runs_.end());
    runs_.push_back(std::move(merged));
  }
}

size_t PieceCounter::read_buffer_bytes() const {
  if (options_.max_bytes == PieceTable::kNoLimit) return kMaxReadBytes;
  const size_t n_read = std::min(std::max<size_t>(runs_.size(), 1), kMaxRuns);
  return std::clamp<size_t>(options_.max_bytes / 8 / n_read, kMinReadBytes, kMaxReadBytes);
}

uint64_t PieceCounter::reading_bytes() const { return runs_.size() * read_buffer_bytes(); }

uint64_t PieceCounter::bytes() const {
  uint64_t total = folding_ ? folding_->bytes() : 0;
  for (const auto& table : tables_) total += table->bytes();
  return total;
}

// Adds the table that is being taken apart to the first one. What was added stays added if this is stopped:
// it goes on from there.
void PieceCounter::finish_folding(const Watch& watch) {
  if (!folding_) return;
  for (; next_folded_ < folding_->n_entries(); ++next_folded_) {
    if (next_folded_ % kPiecesPerCheck == 0) watch.check();
    const PieceTable::Piece piece = folding_->entry(next_folded_);
    if (piece.count == 0) continue;
    if (!tables_[0]->add(piece.text, piece.count)) {
      add_to_full(*tables_[0], piece.text, piece.count, watch);
    }
  }
  folding_.reset();
}

void PieceCounter::fold_tables(const Watch& watch) {
  finish_folding(watch);
  while (tables_.size() > 1) {
    next_folded_ = 0;
    folding_ = std::move(tables_.back());
    tables_.pop_back();
    finish_folding(watch);
  }
}

void PieceCounter::visit_pieces(const Watch& watch, VisitPiece visit) {
  if (runs_.empty()) fold_tables(watch);
  if (!runs_.empty()) {
    spill_all(watch);
    merge_runs(runs_, read_buffer_bytes(), watch, visit);
    return;
  }
  if (tables_.empty()) return;
  const PieceTable& table = *tables_[0];
  for (size_t i = 0; i < table.n_entries(); ++i) {
    if (i % kPiecesPerCheck == 0) watch.check();
    const PieceTable::Piece piece = table.entry(i);
    if (piece.count != 0) visit(piece.text, piece.count);
  }
}

}  // namespace nanochat
