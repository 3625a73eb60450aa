// Fills a FuseMoE layer: one pass over the stored bytes, which are hashed, scanned and packed while in cache.
#include "encoder/fuse_moe_weights.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <thread>

#include "base/error.h"

namespace nanochat {

namespace {

struct Chunk {
  size_t slot;
  int64_t first_row, n_rows;
  uint64_t n_bytes;
};

// 64 rows, or as many times that as make up 256 KiB. Part of the definition of the checksum.
int64_t chunk_rows(int64_t row_bytes) {
  constexpr int64_t kBytes = 256 * 1024;
  return PackedMatrix::kPanel * std::max<int64_t>(1, kBytes / (PackedMatrix::kPanel * row_bytes));
}

std::vector<Chunk> list_chunks(const FuseMoeBuild& request) {
  std::vector<size_t> order(request.slots.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return request.source->position(a) < request.source->position(b); });
  std::vector<Chunk> chunks;
  for (const size_t slot : order) {
    const FuseMoeSlot& tensor = request.slots[slot];
    const int64_t row_bytes = tensor.width() * dtype_size(request.source->dtype(slot));
    const int64_t step = chunk_rows(row_bytes);
    for (int64_t row = 0; row < tensor.n_rows(); row += step) {
      const int64_t n = std::min(step, tensor.n_rows() - row);
      chunks.push_back({slot, row, n, static_cast<uint64_t>(n * row_bytes)});
    }
  }
  return chunks;
}

void append_bytes(std::vector<std::byte>& out, const void* data, size_t n_bytes) {
  const auto* bytes = static_cast<const std::byte*>(data);
  out.insert(out.end(), bytes, bytes + n_bytes);
}

// As that of a model: of the tensors in order of their names, each by name, dtype, shape, the hashes of its
// chunks, and its scales.
Hash128 combine_hashes(const FuseMoeBuild& request, std::span<const Chunk> chunks,
                       std::span<const Hash128> hashes) {
  std::vector<std::vector<std::byte>> digests(request.slots.size());
  for (size_t i = 0; i < chunks.size(); ++i) {
    append_bytes(digests[chunks[i].slot], &hashes[i].low, sizeof hashes[i].low);
    append_bytes(digests[chunks[i].slot], &hashes[i].high, sizeof hashes[i].high);
  }
  std::vector<size_t> order(request.slots.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return request.slots[a].name < request.slots[b].name; });
  std::vector<std::byte> all;
  for (const size_t slot : order) {
    const FuseMoeSlot& tensor = request.slots[slot];
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
  Filling(Device& device, const FuseMoeBuild& request, FuseMoeWeights& weights, const Watch& watch)
      : device_(device),
        request_(request),
        weights_(weights),
        watch_(watch),
        chunks_(list_chunks(request)),
        hashes_(chunks_.size()) {
    for (const Chunk& chunk : chunks_) total_bytes_ += chunk.n_bytes;
  }

  void run() {
    watch_.report("load", 0, total_bytes_);
    device_.threads().parallel_for(std::ssize(chunks_), 1,
                                   [&](int64_t begin, int64_t end) { fill(begin, end); });
    if (bad_chunk_ != kNone) refuse_not_finite();
    watch_.report("load", total_bytes_, total_bytes_);
  }
  Hash128 checksum() const { return combine_hashes(request_, chunks_, hashes_); }

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
          watch_.report("load", done, total_bytes_);
      }
    } catch (...) {
      stop_.store(true, std::memory_order_relaxed);
      throw;
    }
  }

  void fill_chunk(size_t index, std::vector<std::byte>& stored, std::vector<std::byte>& converted) {
    const Chunk& chunk = chunks_[index];
    const auto bytes = request_.source->read(chunk.slot, chunk.first_row, chunk.n_rows, stored);
    hashes_[index] = hash128(bytes);
    const int64_t bad = request_.slots[chunk.slot].is_matrix() ? pack(chunk, bytes, converted)
                                                               : copy_vector(chunk, bytes, converted);
    if (bad >= 0) report_not_finite(index, bad);
  }

  int64_t pack(const Chunk& chunk, std::span<const std::byte> bytes, std::vector<std::byte>& scratch) {
    const DType dtype = request_.source->dtype(chunk.slot);
    const PackedMatrix& matrix = matrix_of(weights_, request_.slots[chunk.slot]);
    const std::span<const float> scales = request_.source->scales(chunk.slot);
    const Kernels& kernels = device_.kernels();
    if (scales.empty() || matrix.dtype == dtype) {
      const float* const own = scales.empty() ? nullptr : scales.data() + chunk.first_row;
      const int64_t bad =
          kernels.pack_rows(device_, matrix, chunk.first_row, chunk.n_rows, bytes.data(), dtype, own);
      return dtype == DType::i8 ? -1 : bad;  // integers are finite, and the scales were checked
    }
    const int64_t width = matrix.k;
    const auto target = staging(scratch, static_cast<size_t>(chunk.n_rows * width) * sizeof(float));
    auto* const values = reinterpret_cast<float*>(target.data());
    const auto* const integers = reinterpret_cast<const int8_t*>(bytes.data());
    for (int64_t i = 0; i < chunk.n_rows * width; ++i) {
      values[i] = static_cast<float>(integers[i]) * scales[static_cast<size_t>(chunk.first_row + i / width)];
    }
    return kernels.pack_rows(device_, matrix, chunk.first_row, chunk.n_rows, values, DType::f32, nullptr);
  }

  int64_t copy_vector(const Chunk& chunk, std::span<const std::byte> bytes, std::vector<std::byte>& scratch) {
    const FuseMoeSlot& slot = request_.slots[chunk.slot];
    const auto values = staging(scratch, static_cast<size_t>(slot.width()) * sizeof(float));
    const int64_t bad = convert_values(bytes.data(), request_.source->dtype(chunk.slot), values.data(),
                                       DType::f32, slot.width());
    device_.copy_to_device(const_cast<float*>(vector_of(weights_, slot)), values.data(), values.size());
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
    const FuseMoeSlot& slot = request_.slots[chunk.slot];
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
  const FuseMoeBuild& request_;
  FuseMoeWeights& weights_;
  const Watch& watch_;
  const std::thread::id caller_ = std::this_thread::get_id();
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
      .subject("FuseMoE weights")
      .field("required_bytes", n_bytes)
      .field("available_bytes", total)
      .say("FuseMoE weights need {} bytes, the device has {}", n_bytes, total);
}

WeightDtype weight_dtype_of(DType dtype) {
  if (dtype == DType::i8) return WeightDtype::i8;
  if (dtype == DType::f8_e4m3) return WeightDtype::f8;
  return dtype == DType::f32 ? WeightDtype::f32 : WeightDtype::bf16;
}

}  // namespace

std::shared_ptr<const FuseMoe> FuseMoeBuilder::build(std::shared_ptr<Device> device,
                                                     const FuseMoeBuild& request, const Watch& watch) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<DType> stored(request.slots.size());
  for (size_t i = 0; i < stored.size(); ++i) stored[i] = request.source->dtype(i);
  const FuseMoeConfig& config = *request.config;
  FuseMoePlan plan = plan_fuse_moe(config, request.slots, stored, request.weight_dtype);
  plan.file_bytes += request.source->scale_bytes();
  const uint64_t n_bytes =
      lay_out_fuse_moe(config, request.slots, stored, request.weight_dtype, nullptr).n_bytes;
  watch.check();
  require_physical_memory(device->memory(), n_bytes);

  struct OpenFuseMoe : FuseMoe {};  // FuseMoe's own constructor is private
  const auto model = std::make_shared<OpenFuseMoe>();
  Block block = device->memory().allocate(PoolKind::model, n_bytes, "FuseMoE weights");
  FuseMoeLayout layout = lay_out_fuse_moe(config, request.slots, stored, request.weight_dtype, block.as());
  Filling filling(*device, request, layout.weights, watch);
  filling.run();
  device->synchronize();

  FuseMoe& out = *model;
  out.config_ = config;
  out.plan_ = plan;
  out.device_ = std::move(device);
  out.block_ = std::move(block);
  out.weights_ = std::move(layout.weights);
  out.weight_dtype_ = weight_dtype_of(out.weights_.experts.front().fc1.dtype);
  out.checksum_ = filling.checksum();
  out.load_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return model;
}

}  // namespace nanochat
