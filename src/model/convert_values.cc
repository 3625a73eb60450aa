#include <cstring>

#include "base/error.h"
#include "model/weight_source.h"

namespace nanochat {

namespace {

constexpr uint32_t kF32Exponent = 0x7f800000U;
constexpr uint16_t kBf16Exponent = 0x7f80U;

// Adding the exponent's lowest bit carries into the sign's place exactly when the exponent is full, so the
// loop over all values has no branch. The index is looked for only when there is one.
template <class Word>
int64_t first_with_full_exponent(const Word* words, int64_t n, Word exponent) {
  const auto lowest = static_cast<Word>(exponent & (~exponent + 1U));
  Word carried = 0;
  for (int64_t i = 0; i < n; ++i) carried = static_cast<Word>(carried | ((words[i] & exponent) + lowest));
  if ((carried >> (8 * sizeof(Word) - 1)) == 0) return -1;
  int64_t i = 0;
  while ((words[i] & exponent) != exponent) ++i;
  return i;
}

template <class Load, class Store>
int64_t convert_each(int64_t n, const Load& load, const Store& store) {
  int64_t first = -1;
  for (int64_t i = 0; i < n; ++i) {
    const float value = load(i);
    const bool finite = (std::bit_cast<uint32_t>(value) & kF32Exponent) != kF32Exponent;
    if (!finite && first < 0) first = i;
    store(i, value);
  }
  return first;
}

template <class Load>
int64_t convert_to(std::byte* target, DType target_dtype, int64_t n, const Load& load) {
  if (target_dtype == DType::f32) {
    auto* out = reinterpret_cast<float*>(target);
    return convert_each(n, load, [=](int64_t i, float value) { out[i] = value; });
  }
  auto* out = reinterpret_cast<uint16_t*>(target);
  return convert_each(n, load, [=](int64_t i, float value) { out[i] = bf16_from_float(value); });
}

}  // namespace

int64_t find_not_finite_value(const std::byte* values, DType dtype, int64_t n) {
  if (dtype == DType::f32) {
    return first_with_full_exponent(reinterpret_cast<const uint32_t*>(values), n, kF32Exponent);
  }
  return first_with_full_exponent(reinterpret_cast<const uint16_t*>(values), n, kBf16Exponent);
}

int64_t convert_values(const std::byte* source, DType source_dtype, std::byte* target, DType target_dtype,
                       int64_t n) {
  if (source_dtype == target_dtype) {
    std::memcpy(target, source, static_cast<size_t>(n * dtype_size(source_dtype)));
    return find_not_finite_value(source, source_dtype, n);
  }
  const auto* words = reinterpret_cast<const uint16_t*>(source);
  const auto* floats = reinterpret_cast<const float*>(source);
  switch (source_dtype) {
    case DType::f32:
      return convert_to(target, target_dtype, n, [=](int64_t i) { return floats[i]; });
    case DType::bf16:
      return convert_to(target, target_dtype, n, [=](int64_t i) { return float_from_bf16(words[i]); });
    case DType::f16:
      return convert_to(target, target_dtype, n, [=](int64_t i) { return float_from_f16(words[i]); });
    default:
      throw_internal("convert_values: not a weight's dtype");
  }
}

}  // namespace nanochat
