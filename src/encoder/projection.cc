#include "encoder/projection.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "encoder/bit_counter.h"
#include "io/safetensors.h"
#include "model/weight_fill.h"

namespace nanochat {

namespace {

size_t size_of(int64_t n) { return static_cast<size_t>(n); }

std::string_view form_name(EmbeddingForm form) {
  constexpr std::array<std::string_view, 4> kNames = {"one dense vector", "a sparse vector", "bits",
                                                      "vectors of tokens"};
  return kNames[static_cast<size_t>(form)];
}

Error refusal(const FusionInput& input) { return Error(Status::invalid_argument).subject(input.id); }

void require_finite(const FusionInput& input, std::span<const float> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      throw refusal(input).say("{}: value {} is {}, expected a finite number", input.id, i, values[i]);
    }
  }
}

// Signs of the outputs for input i: a column of few blocks, so block by block.
void draw_signs(uint32_t number, uint32_t i, std::span<uint64_t> column) {
  for (size_t word = 0; word < column.size(); word += 2) {
    const auto block = philox4x32({static_cast<uint32_t>(word / 2), 0, i, number},
                                  {static_cast<uint32_t>(FusionProjection::kProjectionSeed), 0});
    column[word] = uint64_t{block[1]} << 32 | block[0];
    if (word + 1 < column.size()) column[word + 1] = uint64_t{block[3]} << 32 | block[2];
  }
}

std::vector<float> read_tensor(const SafetensorsFile& file, std::string_view name, const Shape& shape) {
  const TensorInfo* const info = file.find(name);
  const auto refuse = [&](const std::string& reason) {
    return Error(Status::format_invalid)
        .subject(file.path())
        .say("{}: tensor '{}' {}", file.path(), name, reason);
  };
  if (info == nullptr) throw refuse("is missing");
  if (info->shape != shape) throw refuse(format_text("has shape {}, expected {}", info->shape, shape));
  if (info->dtype != DType::f32 && info->dtype != DType::bf16 && info->dtype != DType::f16) {
    throw refuse(format_text("has dtype {}, expected F32, BF16 or F16", dtype_name(info->dtype)));
  }
  std::vector<std::byte> bytes(info->n_bytes);
  file.file().read_at(info->offset, bytes);
  const auto n = static_cast<int64_t>(info->n_bytes) / dtype_size(info->dtype);
  std::vector<float> values(size_of(n));
  const int64_t bad =
      convert_values(bytes.data(), info->dtype, reinterpret_cast<std::byte*>(values.data()), DType::f32, n);
  if (bad >= 0) throw refuse(format_text("has a value at {} that is not finite", bad));
  return values;
}

}  // namespace

FusionProjection::FusionProjection(const FusionInput& input) : input_(input) {
  const bool has_width = input.native_dim == input.fusion_dim;
  if (has_width && (input.form == EmbeddingForm::dense || input.form == EmbeddingForm::tokens)) return;
  words_per_column_ = size_of((input.fusion_dim + 63) / 64);
  signs_.resize(size_of(input.native_dim) * words_per_column_);
  for (size_t i = 0; i < size_of(input.native_dim); ++i) {
    const std::span<uint64_t> column(signs_.data() + i * words_per_column_, words_per_column_);
    draw_signs(static_cast<uint32_t>(input.number), static_cast<uint32_t>(i), column);
  }
}

FusionProjection::FusionProjection(const FusionInput& input, const std::string& path) : input_(input) {
  const SafetensorsFile file(path);
  const std::vector<float> rows = read_tensor(file, "weight", {input.fusion_dim, input.native_dim});
  bias_ = file.find("bias") == nullptr ? std::vector<float>(size_of(input.fusion_dim), 0.0F)
                                       : read_tensor(file, "bias", {input.fusion_dim});
  const auto n_in = size_of(input.native_dim), n_out = size_of(input.fusion_dim);
  weights_.resize(rows.size());
  for (size_t j = 0; j < n_out; ++j) {
    for (size_t i = 0; i < n_in; ++i) weights_[i * n_out + j] = rows[j * n_in + i];
  }
}

void FusionProjection::require_form(EmbeddingForm form, std::span<float> target) const {
  if (form != input_.form) {
    throw refusal(input_).say("{} gives {}, not {}", input_.id, form_name(input_.form), form_name(form));
  }
  if (std::ssize(target) != input_.fusion_dim) {
    throw refusal(input_).say("{}: room for {} values, expected {}", input_.id, target.size(),
                              input_.fusion_dim);
  }
}

// sums += value * column `index`.
void FusionProjection::add_column(int64_t index, double value, std::span<double> sums) const {
  if (is_trained()) {
    const float* const column = weights_.data() + size_of(index) * sums.size();
    for (size_t j = 0; j < sums.size(); ++j) sums[j] += value * static_cast<double>(column[j]);
    return;
  }
  const uint64_t* const signs = signs_.data() + size_of(index) * words_per_column_;
  const double either[2] = {value, -value};
  for (size_t j = 0; j < sums.size(); ++j) sums[j] += either[signs[j / 64] >> (j % 64) & 1];
}

void FusionProjection::finish(std::span<const double> sums, std::span<float> target) const {
  const double divisor = std::sqrt(static_cast<double>(input_.fusion_dim));
  for (size_t j = 0; j < sums.size(); ++j) {
    target[j] =
        static_cast<float>(is_trained() ? sums[j] + static_cast<double>(bias_[j]) : sums[j] / divisor);
  }
}

void FusionProjection::apply(std::span<const float> vector, std::span<float> target) const {
  if (is_identity()) {
    std::copy(vector.begin(), vector.end(), target.begin());
    return;
  }
  std::vector<double> sums(target.size(), 0.0);
  for (size_t i = 0; i < vector.size(); ++i) {
    add_column(static_cast<int64_t>(i), static_cast<double>(vector[i]), sums);
  }
  finish(sums, target);
}

void FusionProjection::project(std::span<const float> vector, std::span<float> target) const {
  require_form(EmbeddingForm::dense, target);
  if (std::ssize(vector) != input_.native_dim) {
    throw refusal(input_).say("{}: {} values, expected {}", input_.id, vector.size(), input_.native_dim);
  }
  require_finite(input_, vector);
  apply(vector, target);
}

void FusionProjection::project_sparse(std::span<const SparseValue> values, std::span<float> target) const {
  require_form(EmbeddingForm::sparse, target);
  int64_t last = -1;
  for (const auto& [index, value] : values) {
    if (index <= last || index >= input_.native_dim) {
      throw refusal(input_).say("{}: index {} after {}, expected ascending ones below {}", input_.id, index,
                                last, input_.native_dim);
    }
    if (!std::isfinite(value)) {
      throw refusal(input_).say("{}: value {} is {}, expected a finite number", input_.id, index, value);
    }
    last = index;
  }
  std::vector<double> sums(target.size(), 0.0);
  for (const auto& [index, value] : values) add_column(index, static_cast<double>(value), sums);
  finish(sums, target);
}

void FusionProjection::project_bits(const Hypervector& bits, std::span<float> target) const {
  require_form(EmbeddingForm::bits, target);
  if (!is_trained()) return project_signs_of_bits(bits, target);
  std::vector<double> sums(target.size(), 0.0);
  for (int64_t i = 0; i < input_.native_dim; ++i) add_column(i, bits.bit(i) ? 0.01 : -0.01, sums);
  finish(sums, target);
}

// The sum of signs is a count: of the bits where column and input differ in sign. Integers, so exact.
void FusionProjection::project_signs_of_bits(const Hypervector& bits, std::span<float> target) const {
  BitCounter counter(words_per_column_);
  std::vector<uint64_t> column(words_per_column_);
  for (int64_t i = 0; i < input_.native_dim; ++i) {
    const uint64_t flip = bits.bit(i) ? ~uint64_t{0} : 0;
    for (size_t word = 0; word < column.size(); ++word) {
      column[word] = signs_[size_of(i) * words_per_column_ + word] ^ flip;
    }
    counter.add(column);
  }
  const double divisor = 100.0 * std::sqrt(static_cast<double>(input_.fusion_dim));
  for (size_t j = 0; j < target.size(); ++j) {
    const int64_t n_positive = static_cast<int64_t>(counter.count(j));
    target[j] = static_cast<float>(static_cast<double>(2 * n_positive - input_.native_dim) / divisor);
  }
}

void FusionProjection::project_tokens(std::span<const float> rows, std::span<float> target) const {
  require_form(EmbeddingForm::tokens, target);
  const auto width = size_of(input_.native_dim);
  if (rows.empty() || rows.size() % width != 0) {
    throw refusal(input_).say("{}: {} values, expected one token of {} or more", input_.id, rows.size(),
                              width);
  }
  require_finite(input_, rows);
  std::vector<double> sums(width, 0.0);
  for (size_t i = 0; i < rows.size(); ++i) sums[i % width] += static_cast<double>(rows[i]);
  double squares = 0.0;
  for (const double sum : sums) squares += sum * sum;
  const double length = squares == 0.0 ? 1.0 : std::sqrt(squares);  // the mean's divisor cancels
  std::vector<float> pooled;
  for (const double sum : sums) pooled.push_back(static_cast<float>(sum / length));
  apply(pooled, target);
}

}  // namespace nanochat
