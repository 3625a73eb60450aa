#include "infer/big_integer.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace nanochat {
namespace {

constexpr uint32_t kDecimalBase = 1'000'000'000;
constexpr int kDigitsPerStep = 9;

// mantissa * 2^exponent as a double, ties to even; `inexact` says that a non-zero rest lies below mantissa.
double round_to_double(uint64_t mantissa, int64_t exponent, bool inexact) {
  constexpr int64_t kSmallestExponent = -1074;
  const int64_t bits = 64 - std::countl_zero(mantissa);
  const int64_t dropped = std::max({bits - 53, kSmallestExponent - exponent, int64_t{0}});
  if (dropped > 64) return 0;
  uint64_t kept = dropped == 64 ? 0 : mantissa >> dropped;
  if (dropped > 0) {
    const uint64_t half = uint64_t{1} << (dropped - 1);
    const uint64_t rest = mantissa & (half | (half - 1));
    if (rest > half || (rest == half && (inexact || (kept & 1) != 0))) ++kept;
  }
  const int64_t scale = std::clamp<int64_t>(exponent + dropped, -2000, 2000);
  return std::ldexp(static_cast<double>(kept), static_cast<int>(scale));
}

}  // namespace

BigInteger::BigInteger(uint64_t value) {
  limbs_ = {static_cast<uint32_t>(value), static_cast<uint32_t>(value >> 32)};
  trim(limbs_);
}

BigInteger BigInteger::from_decimal(std::string_view digits) {
  BigInteger result;
  while (!digits.empty()) {
    const size_t length = std::min<size_t>(digits.size(), kDigitsPerStep);
    uint64_t scale = 1, carry = 0;
    for (size_t i = 0; i < length; ++i) {
      scale *= 10;
      carry = carry * 10 + static_cast<uint64_t>(digits[i] - '0');
    }
    digits.remove_prefix(length);
    for (uint32_t& limb : result.limbs_) {
      carry += limb * scale;
      limb = static_cast<uint32_t>(carry);
      carry >>= 32;
    }
    if (carry != 0) result.limbs_.push_back(static_cast<uint32_t>(carry));
  }
  return result;
}

bool BigInteger::fits_in_int64() const {
  const int64_t bits = bit_length(limbs_);
  const bool is_minimum = negative_ && bits == 64 && limbs_[0] == 0 && limbs_[1] == 0x8000'0000u;
  return bits < 64 || is_minimum;
}

BigInteger BigInteger::operator-() const {
  BigInteger result = *this;
  result.negative_ = !negative_ && !is_zero();
  return result;
}

BigInteger BigInteger::operator+(const BigInteger& other) const {
  BigInteger result;
  if (negative_ == other.negative_) {
    result.limbs_ = add(limbs_, other.limbs_);
    result.negative_ = negative_;
    return result;
  }
  const int order = compare(limbs_, other.limbs_);
  if (order == 0) return result;
  result.limbs_ = order > 0 ? subtract(limbs_, other.limbs_) : subtract(other.limbs_, limbs_);
  result.negative_ = order > 0 ? negative_ : other.negative_;
  return result;
}

BigInteger BigInteger::operator*(const BigInteger& other) const {
  BigInteger result;
  result.limbs_.assign(limbs_.size() + other.limbs_.size(), 0);
  for (size_t i = 0; i < limbs_.size(); ++i) {
    uint64_t carry = 0;
    for (size_t j = 0; j < other.limbs_.size(); ++j) {
      carry += uint64_t{limbs_[i]} * other.limbs_[j] + result.limbs_[i + j];
      result.limbs_[i + j] = static_cast<uint32_t>(carry);
      carry >>= 32;
    }
    result.limbs_[i + other.limbs_.size()] = static_cast<uint32_t>(carry);
  }
  trim(result.limbs_);
  result.negative_ = negative_ != other.negative_ && !result.is_zero();
  return result;
}

BigInteger BigInteger::floor_divide(const BigInteger& divisor) const {
  auto [quotient, remainder] = divide_long(limbs_, divisor.limbs_);
  const bool negative = negative_ != divisor.negative_;
  BigInteger result;
  result.limbs_ = negative && !remainder.empty() ? add(quotient, {1}) : std::move(quotient);
  result.negative_ = negative && !result.is_zero();
  return result;
}

std::optional<double> BigInteger::divide(const BigInteger& divisor) const {
  if (is_zero()) return 0.0;
  // Scaled so that the quotient has 63 or 64 bits: more than a double's 53 and the bit that rounds.
  const int64_t shift = 63 - (bit_length(limbs_) - bit_length(divisor.limbs_));
  const auto [quotient, remainder] =
      shift >= 0 ? divide_long(shift_left(limbs_, static_cast<uint64_t>(shift)), divisor.limbs_)
                 : divide_long(limbs_, shift_left(divisor.limbs_, static_cast<uint64_t>(-shift)));
  uint64_t mantissa = 0;
  for (size_t i = quotient.size(); i-- > 0;) mantissa = mantissa << 32 | quotient[i];
  const double magnitude = round_to_double(mantissa, -shift, !remainder.empty());
  if (std::isinf(magnitude)) return std::nullopt;
  return negative_ != divisor.negative_ ? -magnitude : magnitude;
}

std::string BigInteger::to_string() const {
  if (is_zero()) return "0";
  std::string reversed;
  Limbs rest = limbs_;
  while (!rest.empty()) {
    auto [quotient, remainder] = divide_short(rest, kDecimalBase);
    rest = std::move(quotient);
    for (int i = 0; i < kDigitsPerStep && (remainder != 0 || !rest.empty()); ++i) {
      reversed += static_cast<char>('0' + remainder % 10);
      remainder /= 10;
    }
  }
  if (negative_) reversed += '-';
  return {reversed.rbegin(), reversed.rend()};
}

void BigInteger::trim(Limbs& limbs) {
  while (!limbs.empty() && limbs.back() == 0) limbs.pop_back();
}

int BigInteger::compare(const Limbs& a, const Limbs& b) {
  if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  for (size_t i = a.size(); i-- > 0;) {
    if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
  }
  return 0;
}

BigInteger::Limbs BigInteger::add(const Limbs& a, const Limbs& b) {
  Limbs sum;
  sum.reserve(std::max(a.size(), b.size()) + 1);
  uint64_t carry = 0;
  for (size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    if (i < a.size()) carry += a[i];
    if (i < b.size()) carry += b[i];
    sum.push_back(static_cast<uint32_t>(carry));
    carry >>= 32;
  }
  if (carry != 0) sum.push_back(static_cast<uint32_t>(carry));
  return sum;
}

BigInteger::Limbs BigInteger::subtract(const Limbs& a, const Limbs& b) {
  Limbs difference = a;
  uint32_t borrow = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const uint64_t taken = uint64_t{i < b.size() ? b[i] : 0} + borrow;
    borrow = a[i] < taken ? 1 : 0;
    difference[i] = static_cast<uint32_t>(a[i] - taken);
  }
  trim(difference);
  return difference;
}

BigInteger::Limbs BigInteger::shift_left(const Limbs& a, uint64_t bits) {
  Limbs shifted(bits / 32, 0);
  const unsigned within = static_cast<unsigned>(bits % 32);
  uint32_t carry = 0;
  for (const uint32_t limb : a) {
    const uint64_t wide = uint64_t{limb} << within | carry;
    shifted.push_back(static_cast<uint32_t>(wide));
    carry = static_cast<uint32_t>(wide >> 32);
  }
  shifted.push_back(carry);
  trim(shifted);
  return shifted;
}

std::pair<BigInteger::Limbs, uint32_t> BigInteger::divide_short(const Limbs& a, uint32_t divisor) {
  Limbs quotient(a.size());
  uint64_t remainder = 0;
  for (size_t i = a.size(); i-- > 0;) {
    remainder = remainder << 32 | a[i];
    quotient[i] = static_cast<uint32_t>(remainder / divisor);
    remainder %= divisor;
  }
  trim(quotient);
  return {std::move(quotient), static_cast<uint32_t>(remainder)};
}

// Knuth, The Art of Computer Programming, volume 2, 4.3.1, algorithm D.
std::pair<BigInteger::Limbs, BigInteger::Limbs> BigInteger::divide_long(const Limbs& a, const Limbs& b) {
  if (compare(a, b) < 0) return {Limbs{}, a};
  if (b.size() == 1) {
    auto [quotient, rest] = divide_short(a, b[0]);
    return {std::move(quotient), rest == 0 ? Limbs{} : Limbs{rest}};
  }
  // Normalised: the divisor's highest bit is set, and the dividend has one limb more than needed.
  const int shift = std::countl_zero(b.back());
  const size_t n = b.size(), m = a.size() - n;
  const Limbs v = shift_left(b, static_cast<uint64_t>(shift));
  Limbs u = shift_left(a, static_cast<uint64_t>(shift));
  u.resize(a.size() + 1, 0);
  Limbs quotient(m + 1, 0);
  for (size_t j = m + 1; j-- > 0;) {
    const uint64_t top = uint64_t{u[j + n]} << 32 | u[j + n - 1];
    uint64_t estimate = top / v[n - 1], rest = top % v[n - 1];
    while (estimate >> 32 != 0 || estimate * v[n - 2] > (rest << 32 | u[j + n - 2])) {
      --estimate;
      rest += v[n - 1];
      if (rest >> 32 != 0) break;
    }
    int64_t borrow = 0;
    uint64_t carry = 0;
    for (size_t i = 0; i <= n; ++i) {
      carry += i < n ? estimate * v[i] : 0;
      const int64_t difference = int64_t{u[i + j]} - borrow - static_cast<int64_t>(carry & 0xFFFF'FFFFu);
      u[i + j] = static_cast<uint32_t>(difference);
      borrow = difference < 0 ? 1 : 0;
      carry >>= 32;
    }
    if (borrow != 0) {  // the estimate was one too large
      --estimate;
      uint64_t sum = 0;
      for (size_t i = 0; i <= n; ++i) {
        sum += uint64_t{u[i + j]} + (i < n ? v[i] : 0);
        u[i + j] = static_cast<uint32_t>(sum);
        sum >>= 32;
      }
    }
    quotient[j] = static_cast<uint32_t>(estimate);
  }
  for (size_t i = 0; i < n; ++i) {
    u[i] = static_cast<uint32_t>((u[i] | uint64_t{u[i + 1]} << 32) >> shift);
  }
  u.resize(n);
  trim(u);
  trim(quotient);
  return {std::move(quotient), std::move(u)};
}

int64_t BigInteger::bit_length(const Limbs& limbs) {
  if (limbs.empty()) return 0;
  return static_cast<int64_t>(limbs.size()) * 32 - std::countl_zero(limbs.back());
}

}  // namespace nanochat
