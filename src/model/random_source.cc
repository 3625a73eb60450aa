#include "model/random_source.h"

#include <algorithm>
#include <array>
#include <numbers>

#include "base/random.h"

namespace nanochat {

namespace {

// Numbers even over (mean - reach, mean + reach).
struct RandomStream {
  uint64_t seed, tensor;
  float mean, reach;
};
constexpr size_t kValues = 1024;  // drawn at once
constexpr size_t kBlocks = kValues / 4 + 1;

// Elements first to first + n - 1 of a tensor. Element e comes from word e % 4 of block e / 4: 24 bits, even
// over (-1, 1) without its ends and zero.
void draw(const RandomStream& stream, uint64_t first, std::span<float> values) {
  std::array<std::array<uint32_t, 4>, kBlocks> blocks;
  const uint64_t first_block = first / 4;
  const uint64_t end_block = (first + values.size() + 3) / 4;
  const auto n_blocks = static_cast<size_t>(end_block - first_block);
  philox4x32_blocks(stream.seed, stream.tensor, first_block, std::span(blocks).first(n_blocks));
  const uint32_t* words = blocks[0].data() + first % 4;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto whole = static_cast<float>(static_cast<int32_t>(words[i]) >> 8);
    values[i] = stream.mean + stream.reach * ((whole + 0.5F) * 0x1p-23F);
  }
}

void store(std::byte* target, DType dtype, int64_t index, std::span<const float> values) {
  if (dtype == DType::bf16) {
    auto* out = reinterpret_cast<uint16_t*>(target) + index;
    for (size_t i = 0; i < values.size(); ++i) out[i] = bf16_from_float(values[i]);
  } else {
    std::copy(values.begin(), values.end(), reinterpret_cast<float*>(target) + index);
  }
}

}  // namespace

DType RandomSource::dtype(size_t slot) const {
  const TensorKind kind = tensors_[slot].tensor->kind;
  return kind == TensorKind::matrix || kind == TensorKind::table ? dtype_ : DType::f32;
}

std::span<const std::byte> RandomSource::read(size_t slot, int64_t first_row, int64_t n_rows,
                                              std::vector<std::byte>& buffer) const {
  const RandomTensor& random = tensors_[slot];
  const int64_t width = random.tensor->width();
  const int64_t first = first_row * width;
  const int64_t n = n_rows * width;
  const int64_t n_used = std::clamp<int64_t>(random.used_rows * width - first, 0, n);
  const auto bytes = staging(buffer, static_cast<size_t>(n * dtype_size(dtype(slot))));
  const RandomStream stream{seed_, slot, static_cast<float>(random.mean),
                            static_cast<float>(std::numbers::sqrt3 * random.deviation)};
  std::array<float, kValues> values;
  for (int64_t done = 0; done < n;) {
    const int64_t n_now = std::min<int64_t>(kValues, n - done);
    const int64_t n_drawn = std::clamp<int64_t>(n_used - done, 0, n_now);
    draw(stream, static_cast<uint64_t>(first + done), std::span(values).first(static_cast<size_t>(n_drawn)));
    std::fill(values.begin() + n_drawn, values.begin() + n_now, 0.0F);
    store(bytes.data(), dtype(slot), done, std::span(values).first(static_cast<size_t>(n_now)));
    done += n_now;
  }
  return bytes;
}

}  // namespace nanochat
