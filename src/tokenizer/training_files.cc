#include "tokenizer/training_files.h"

#include <algorithm>
#include <exception>
#include <mutex>

#include "io/document_reader.h"
#include "io/json_line.h"
#include "tokenizer/piece_counter.h"
#include "tokenizer/split_scanner.h"

namespace nanochat {

namespace {

constexpr size_t kBatchBytesPerThread = size_t{1} << 20, kMaxBatchBytes = size_t{1} << 24;
constexpr size_t kMinBatchBytes = size_t{1} << 16;

// What one thread counts at a time: a line of JSON, or a block of text.
struct Task {
  std::string_view text;
  const DocumentBatch::Part* part;
};

// The first thing that went wrong, in the order of the documents, whichever thread met it.
class FirstFailure {
 public:
  void add(int64_t index) {
    const std::lock_guard lock(mutex_);
    if (error_ && index >= index_) return;
    index_ = index;
    error_ = std::current_exception();
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::mutex mutex_;  // guards both
  int64_t index_ = 0;
  std::exception_ptr error_;
};

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

class FileCounting {
 public:
  FileCounting(BpeTrainer& trainer, const TrainingFiles& files, ThreadPool& threads, const Watch& watch)
      : counter_(trainer.counter()),
        rules_(split_rules(trainer.options().pattern)),
        text_field_(files.text_field),
        threads_(threads),
        watch_(watch),
        reader_(list_document_files(files.paths),
                reader_options(files, trainer.options().memory_limit, threads.n_threads())) {}

  void run() {
    DocumentBatch batch, next;
    bool more = reader_.read(batch);
    while (more) {
      watch_.report("read", reader_.bytes_read(), reader_.total_bytes());
      more = count_and_read(batch, next);
      std::swap(batch, next);
    }
    watch_.report("read", reader_.total_bytes(), reader_.total_bytes());
  }

 private:
  DocumentReaderOptions reader_options(const TrainingFiles& files, uint64_t memory_limit, int n_threads) {
    DocumentReaderOptions options;
    options.text_is_lines = files.text_is_lines;
    options.batch_bytes = std::min(kBatchBytesPerThread * static_cast<size_t>(n_threads), kMaxBatchBytes);
    if (memory_limit != 0) {  // two batches are an eighth of the limit, or as little as makes sense
      options.batch_bytes = std::clamp<size_t>(memory_limit / 16, kMinBatchBytes, options.batch_bytes);
      options.max_part_bytes = std::max<uint64_t>(memory_limit / 8, options.batch_bytes);
    }
    options.cut = [this](std::string_view text) { return final_pieces_end(rules_, text); };
    return options;
  }

  // The next batch is read by one of the threads while the others count this one.
  bool count_and_read(const DocumentBatch& batch, DocumentBatch& next) {
    std::vector<Task> tasks;
    for (const DocumentBatch::Part& part : batch.parts) {
      const std::string_view text = batch.text(part);
      if (part.form == DocumentForm::json_lines) {
        tasks.push_back({text, &part});
      } else {
        cut_into_blocks(rules_, text, [&](std::string_view block) { tasks.push_back({block, &part}); });
      }
    }
    const auto n_tasks = static_cast<int64_t>(tasks.size());
    bool more = false;
    FirstFailure failure;
    counter_.parallel_for(n_tasks + 1, threads_, watch_, [&](int64_t i, PieceCounter::Worker& worker) {
      try {
        if (i == 0) {
          more = reader_.read(next);
        } else {
          count(tasks[static_cast<size_t>(i - 1)], worker);
        }
      } catch (...) {
        failure.add(i == 0 ? n_tasks : i - 1);
      }
    });
    failure.rethrow();
    return more;
  }

  void count(const Task& task, PieceCounter::Worker& worker) const {
    if (task.part->form != DocumentForm::json_lines) return worker.add_text(task.text);
    if (is_blank(task.text)) return;
    std::string buffer;
    worker.add_text(
        json_string_member(task.text, text_field_, buffer, [&] { return reader_.name(*task.part); }));
  }

  PieceCounter& counter_;
  const SplitRules& rules_;
  const std::string& text_field_;
  ThreadPool& threads_;
  const Watch& watch_;
  DocumentReader reader_;
};

}  // namespace

void add_document_files(BpeTrainer& trainer, const TrainingFiles& files, ThreadPool& threads,
                        const Watch& watch) {
  FileCounting(trainer, files, threads, watch).run();
}

}  // namespace nanochat
