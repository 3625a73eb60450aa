#include "tokenizer/piece_run.h"

#include <algorithm>
#include <cstring>
#include <queue>

#include "base/error.h"

namespace nanochat {

namespace {

constexpr size_t kWriteBytes = size_t{1} << 16;
constexpr size_t kPiecesPerCheck = 4096;
constexpr size_t kMaxVarint = 10;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

void append_varint(std::string& to, uint64_t value) {
  for (; value >= 0x80; value >>= 7) to.push_back(static_cast<char>(value | 0x80));
  to.push_back(static_cast<char>(value));
}

// One run from its beginning to its end, through a buffer that grows to the longest piece.
class RunReader {
 public:
  RunReader(const TemporaryFile& file, size_t buffer_bytes) : file_(&file) {
    buffer_.resize(std::max(buffer_bytes, 2 * kMaxVarint));
  }

  bool next() {
    if (begin_ == end_ && offset_ == file_->size()) return false;
    need(2 * kMaxVarint);
    const uint64_t size = varint();
    count_ = varint();
    need(size);
    if (size > end_ - begin_) throw_internal("a run of pieces ends inside a piece");
    piece_ = {buffer_.data() + begin_, size};
    begin_ += size;
    return true;
  }
  std::string_view piece() const { return piece_; }
  uint64_t count() const { return count_; }

 private:
  // Makes `bytes` bytes readable from begin_, or all that are left.
  void need(size_t bytes) {
    if (end_ - begin_ >= bytes || offset_ == file_->size()) return;
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    if (buffer_.size() < bytes) buffer_.resize(bytes);
    const std::span<char> room(buffer_.data() + end_, buffer_.size() - end_);
    const size_t got = file_->read_at(offset_, std::as_writable_bytes(room));
    if (got == 0) throw_internal("a run of pieces is shorter than what was written");
    end_ += got;
    offset_ += got;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && begin_ < end_; shift += 7) {
      const auto byte = static_cast<unsigned char>(buffer_[begin_++]);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    throw_internal("a run of pieces has a number without an end");
  }

  const TemporaryFile* file_;
  std::string buffer_;
  size_t begin_ = 0, end_ = 0;  // of what is not read yet
  uint64_t offset_ = 0;         // in the file, of what is not in the buffer yet
  std::string_view piece_;
  uint64_t count_ = 0;
};

}  // namespace

void PieceRun::put(std::string_view bytes) {
  if (buffer_.size() + bytes.size() > kWriteBytes) finish();
  if (bytes.size() > kWriteBytes) {
    file_->append(bytes_of(bytes));
  } else {
    buffer_ += bytes;
  }
}

void PieceRun::append(std::string_view piece, uint64_t count) {
  std::string head;
  append_varint(head, piece.size());
  append_varint(head, count);
  put(head);
  put(piece);
}

void PieceRun::finish() {
  file_->append(bytes_of(buffer_));
  buffer_.clear();
}

uint64_t write_run_bytes(size_t n_pieces) { return n_pieces * sizeof(uint32_t) + kWriteBytes; }

// The comparison looks at the cancel switch: sorting a large table takes seconds, and numbers can be left in
// any order.
PieceRun write_run(const PieceTable& table, const std::string& folder, const Watch& watch) {
  std::vector<uint32_t> order;
  order.reserve(table.size());
  for (size_t i = 0; i < table.n_entries(); ++i) {
    if (table.entry(i).count != 0) order.push_back(static_cast<uint32_t>(i));
  }
  size_t n_compared = 0;
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    if (++n_compared % kPiecesPerCheck == 0) watch.check();
    return table.entry(a).text < table.entry(b).text;
  });
  PieceRun run(folder);
  size_t n_written = 0;
  for (const uint32_t index : order) {
    if (++n_written % kPiecesPerCheck == 0) watch.check();
    const PieceTable::Piece piece = table.entry(index);
    run.append(piece.text, piece.count);
  }
  run.finish();
  return run;
}

void merge_runs(std::span<const PieceRun> runs, size_t buffer_bytes, const Watch& watch, VisitPiece visit) {
  std::vector<RunReader> readers;
  readers.reserve(runs.size());
  for (const PieceRun& run : runs) readers.emplace_back(run.file(), buffer_bytes);
  const auto later = [&](size_t a, size_t b) { return readers[a].piece() > readers[b].piece(); };
  std::priority_queue<size_t, std::vector<size_t>, decltype(later)> queue(later);
  for (size_t i = 0; i < readers.size(); ++i) {
    if (readers[i].next()) queue.push(i);
  }
  std::string piece;
  for (size_t n_visited = 0; !queue.empty(); ++n_visited) {
    if (n_visited % kPiecesPerCheck == 0) watch.check();
    piece = readers[queue.top()].piece();
    uint64_t count = 0;
    while (!queue.empty() && readers[queue.top()].piece() == piece) {
      const size_t reader = queue.top();
      queue.pop();
      count += readers[reader].count();
      if (readers[reader].next()) queue.push(reader);
    }
    visit(piece, count);
  }
}

}  // namespace nanochat
