// One pass over the stored bytes, which are read, hashed, scanned and packed while in cache.
#include "model/weight_fill.h"

#include <algorithm>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "kernels/elements.h"

namespace nanochat {

namespace {

struct Chunk {
  size_t slot;
  int64_t first_row, n_rows;
  uint64_t n_bytes;
};

int64_t row_bytes(const TensorSpec& tensor, DType dtype) { return tensor.width() * dtype_size(dtype); }

std::vector<Chunk> list_chunks(const FillRequest& request) {
  std::vector<size_t> order(request.targets.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return request.source->position(a) < request.source->position(b); });
  std::vector<Chunk> chunks;
  for (const size_t slot : order) {
    const TensorSpec& tensor = *request.targets[slot].tensor;
    const DType dtype = request.source->dtype(slot);
    const int64_t step = rows_per_chunk(tensor, dtype);
    for (int64_t row = 0; row < tensor.n_rows(); row += step) {
      const int64_t n = std::min(step, tensor.n_rows() - row);
      chunks.push_back({slot, row, n, static_cast<uint64_t>(n * row_bytes(tensor, dtype))});
    }
  }
  return chunks;
}

void append_bytes(std::vector<std::byte>& out, const void* data, size_t n_bytes) {
  const auto* bytes = static_cast<const std::byte*>(data);
  out.insert(out.end(), bytes, bytes + n_bytes);
}

// The hash of a model: of its tensors in order of their names, each the hash of name, dtype, shape and the
// hashes of its chunks. Nothing in it depends on threads, files or the order of reading.
Hash128 combine_hashes(const FillRequest& request, std::span<const Chunk> chunks,
                       std::span<const Hash128> hashes) {
  std::vector<std::vector<std::byte>> digests(request.targets.size());
  for (size_t i = 0; i < chunks.size(); ++i) {
    append_bytes(digests[chunks[i].slot], &hashes[i].low, sizeof hashes[i].low);
    append_bytes(digests[chunks[i].slot], &hashes[i].high, sizeof hashes[i].high);
  }
  std::vector<size_t> order(request.targets.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return request.targets[a].tensor->name < request.targets[b].tensor->name;
  });
  std::vector<std::byte> all;
  for (const size_t slot : order) {
    const TensorSpec& tensor = *request.targets[slot].tensor;
    const std::string head =
        format_text("{} {} {} ", tensor.name, dtype_name(request.source->dtype(slot)), tensor.shape);
    append_bytes(all, head.data(), head.size());
    append_bytes(all, digests[slot].data(), digests[slot].size());
    const std::span<const float> scales = request.source->scales(slot);
    append_bytes(all, scales.data(), scales.size_bytes());
  }
  return hash128(all);
}

// One filling. Threads share it; the calling thread reports progress.
class Filling {
 public:
  Filling(Device& device, const FillRequest& request, const Watch& watch)
      : device_(device),
        request_(request),
        watch_(watch),
        chunks_(list_chunks(request)),
        hashes_(chunks_.size()) {
    for (const Chunk& chunk : chunks_) total_bytes_ += chunk.n_bytes;
  }

  void run() {
    watch_.report(request_.stage, 0, total_bytes_);
    device_.threads().parallel_for(std::ssize(chunks_), 1,
                                   [&](int64_t begin, int64_t end) { fill(begin, end); });
    if (bad_chunk_ != kNone) refuse_not_finite();
    watch_.report(request_.stage, total_bytes_, total_bytes_);
  }
  Hash128 checksum() const { return is_checked_ ? combine_hashes(request_, chunks_, hashes_) : Hash128{}; }

 private:
  static constexpr size_t kNone = SIZE_MAX;

  void fill(int64_t begin, int64_t end) {
    std::vector<std::byte> stored, converted;
    try {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        if (stop_.load(std::memory_order_relaxed)) return;
        watch_.check();
        // Later chunks than a bad one need no work; earlier ones may hold an earlier bad value.
        if (i > bad_chunk_.load(std::memory_order_relaxed)) return;
        fill_chunk(i, stored, converted);
        const uint64_t done = request_.bytes_read->fetch_add(chunks_[i].n_bytes) + chunks_[i].n_bytes;
        if (std::this_thread::get_id() == caller_ && done < total_bytes_)
          watch_.report(request_.stage, done, total_bytes_);
      }
    } catch (...) {
      stop_.store(true, std::memory_order_relaxed);
      throw;
    }
  }

  void fill_chunk(size_t index, std::vector<std::byte>& stored, std::vector<std::byte>& converted) {
    const Chunk& chunk = chunks_[index];
    const auto bytes = request_.source->read(chunk.slot, chunk.first_row, chunk.n_rows, stored);
    if (is_checked_) hashes_[index] = hash128(bytes);
    int64_t bad = -1;
    switch (request_.targets[chunk.slot].tensor->kind) {
      case TensorKind::matrix:
        bad = pack(chunk, bytes, converted);
        break;
      case TensorKind::table:
        bad = copy_rows(chunk, bytes, request_.targets[chunk.slot].table_dtype, converted);
        break;
      case TensorKind::vector:
        bad = copy_rows(chunk, bytes, DType::f32, converted);
        break;
      case TensorKind::scalars:
        bad = keep_scalars(chunk, bytes);
        break;
    }
    if (bad >= 0) report_not_finite(index, bad);
  }

  int64_t pack(const Chunk& chunk, std::span<const std::byte> bytes, std::vector<std::byte>& scratch) {
    const WeightTarget& to = request_.targets[chunk.slot];
    const int64_t width = to.tensor->width();
    const DType dtype = request_.source->dtype(chunk.slot);
    const int64_t n_used = std::clamp<int64_t>(to.used_rows - chunk.first_row, 0, chunk.n_rows);
    if (n_used > 0) {
      const int64_t row = to.first_row + chunk.first_row;
      const std::span<const float> scales = request_.source->scales(chunk.slot);
      if (has_scales(dtype) && to.matrix->dtype != dtype) {
        return pack_dequantized(chunk, bytes, {row, n_used}, scratch);
      }
      const float* const own = scales.empty() ? nullptr : scales.data() + chunk.first_row;
      const int64_t bad =
          device_.kernels().pack_rows(device_, *to.matrix, row, n_used, bytes.data(), dtype, own);
      if (has_scales(dtype)) return bad;  // the scales were checked
      if (bad >= 0 || n_used == chunk.n_rows) return bad;
    }
    // Rows that pad the vocabulary are no outputs, but a file that holds NaN there is damaged all the same.
    const int64_t n_padding = (chunk.n_rows - n_used) * width;
    const auto target = staging(scratch, static_cast<size_t>(n_padding) * sizeof(float));
    const int64_t bad = convert_values(bytes.data() + n_used * row_bytes(*to.tensor, dtype), dtype,
                                       target.data(), DType::f32, n_padding);
    return bad < 0 ? bad : bad + n_used * width;
  }

  struct MatrixRows {
    int64_t first, n;
  };

  int64_t pack_dequantized(const Chunk& chunk, std::span<const std::byte> bytes, MatrixRows rows,
                           std::vector<std::byte>& scratch) {
    const WeightTarget& to = request_.targets[chunk.slot];
    const int64_t width = to.tensor->width();
    const std::span<const float> scales = request_.source->scales(chunk.slot);
    const DType dtype = request_.source->dtype(chunk.slot);
    const auto target = staging(scratch, static_cast<size_t>(rows.n * width) * sizeof(float));
    auto* values = reinterpret_cast<float*>(target.data());
    for (int64_t i = 0; i < rows.n * width; ++i) {
      values[i] =
          element_at(bytes.data(), dtype, i) * scales[static_cast<size_t>(chunk.first_row + i / width)];
    }
    return device_.kernels().pack_rows(device_, *to.matrix, rows.first, rows.n, values, DType::f32, nullptr);
  }

  int64_t copy_rows(const Chunk& chunk, std::span<const std::byte> bytes, DType target_dtype,
                    std::vector<std::byte>& scratch) {
    const WeightTarget& to = request_.targets[chunk.slot];
    const DType dtype = request_.source->dtype(chunk.slot);
    const int64_t n = chunk.n_rows * to.tensor->width();
    std::byte* const target =
        static_cast<std::byte*>(to.data) + chunk.first_row * row_bytes(*to.tensor, target_dtype);
    if (dtype == target_dtype) {
      device_.copy_to_device(target, bytes.data(), bytes.size());
      return is_checked_ ? find_not_finite_value(bytes.data(), dtype, n) : -1;
    }
    const auto values = staging(scratch, static_cast<size_t>(n * dtype_size(target_dtype)));
    const int64_t bad = convert_values(bytes.data(), dtype, values.data(), target_dtype, n);
    device_.copy_to_device(target, values.data(), values.size());
    return bad;
  }

  int64_t keep_scalars(const Chunk& chunk, std::span<const std::byte> bytes) {
    const WeightTarget& to = request_.targets[chunk.slot];
    const int64_t n = chunk.n_rows * to.tensor->width();
    std::vector<float> values(static_cast<size_t>(n));
    const int64_t bad = convert_values(bytes.data(), request_.source->dtype(chunk.slot),
                                       reinterpret_cast<std::byte*>(values.data()), DType::f32, n);
    const int64_t first = chunk.first_row * to.tensor->width();
    for (int64_t i = 0; i < n; ++i) to.keep(first + i, values[static_cast<size_t>(i)]);
    return bad;
  }

  // The first in order of reading is reported, whichever thread comes first.
  void report_not_finite(size_t chunk, int64_t element) {
    const std::lock_guard lock(bad_mutex_);
    if (chunk >= bad_chunk_.load()) return;
    bad_chunk_.store(chunk);
    bad_element_ = element;
  }

  [[noreturn]] void refuse_not_finite() const {
    const Chunk& chunk = chunks_[bad_chunk_];
    const TensorSpec& slot = *request_.targets[chunk.slot].tensor;
    const int64_t index = chunk.first_row * slot.width() + bad_element_;
    const std::string reason =
        format_text("tensor '{}': element {} of {} is not finite", slot.name, index, slot.n_elements());
    throw Error(Status::model_validation_failed)
        .subject(slot.name)
        .field("model_id", request_.model_id)
        .field("reason", reason)
        .field("tensor", slot.name)
        .field("index", index)
        .hint("obtain an undamaged model file")
        .say("Model validation failed for {}: {}", request_.model_id, reason);
  }

  Device& device_;
  const FillRequest& request_;
  const Watch& watch_;
  const std::thread::id caller_ = std::this_thread::get_id();
  const bool is_checked_ = request_.checks == WeightChecks::all;
  std::vector<Chunk> chunks_;
  std::vector<Hash128> hashes_;  // of chunks_[i]
  uint64_t total_bytes_ = 0;
  std::atomic<bool> stop_{false};
  std::mutex bad_mutex_;  // serialises writers of the two below
  std::atomic<size_t> bad_chunk_{kNone};
  int64_t bad_element_ = -1;
};

// Some systems promise more memory than they have and kill the process that uses it.
void require_physical_memory(const Memory& memory, uint64_t n_bytes) {
  const uint64_t total = memory.stats().device_total_bytes;
  if (total == 0 || n_bytes <= total) return;
  throw Error(Status::out_of_memory)
      .subject("model weights")
      .field("required_bytes", n_bytes)
      .field("available_bytes", total)
      .say("model weights need {} bytes, the device has {}", n_bytes, total);
}

}  // namespace

Block allocate_weights(Memory& memory, uint64_t n_bytes) {
  require_physical_memory(memory, n_bytes);
  return memory.allocate(PoolKind::model, n_bytes, "model weights");
}

std::span<std::byte> staging(std::vector<std::byte>& buffer, size_t n_bytes) {
  if (buffer.size() < n_bytes) buffer.resize(n_bytes);
  return {buffer.data(), n_bytes};
}

int64_t rows_per_chunk(const TensorSpec& tensor, DType dtype) {
  constexpr int64_t kBytes = 256 * 1024;
  const int64_t panel = PackedMatrix::kPanel * row_bytes(tensor, dtype);
  return PackedMatrix::kPanel * std::max<int64_t>(1, kBytes / panel);
}

Hash128 fill_weights(Device& device, const FillRequest& request, const Watch& watch) {
  Filling filling(device, request, watch);
  filling.run();
  return filling.checksum();
}

}  // namespace nanochat
