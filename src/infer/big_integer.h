// Integers of any size with Python's rules, for the calculator. Schoolbook algorithms: operands have at most
// a few thousand digits, because the calculator bounds the length of its expressions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nanochat {

class BigInteger {
 public:
  BigInteger() = default;
  explicit BigInteger(uint64_t value);
  static BigInteger from_decimal(std::string_view digits);  // '0'..'9' only

  bool is_zero() const { return limbs_.empty(); }
  bool is_negative() const { return negative_; }
  bool fits_in_int64() const;
  BigInteger operator-() const;
  BigInteger operator+(const BigInteger& other) const;
  BigInteger operator-(const BigInteger& other) const { return *this + -other; }
  BigInteger operator*(const BigInteger& other) const;
  BigInteger floor_divide(const BigInteger& divisor) const;  // towards minus infinity; divisor is not zero

  // The double nearest to this / divisor, ties to even; none if it is too large. The divisor is not zero.
  std::optional<double> divide(const BigInteger& divisor) const;
  std::optional<double> to_double() const { return divide(BigInteger(1)); }
  std::string to_string() const;

 private:
  using Limbs = std::vector<uint32_t>;  // least significant first, no leading zeros
  static void trim(Limbs& limbs);
  static int compare(const Limbs& a, const Limbs& b);
  static Limbs add(const Limbs& a, const Limbs& b);
  static Limbs subtract(const Limbs& a, const Limbs& b);  // a >= b
  static Limbs shift_left(const Limbs& a, uint64_t bits);
  static std::pair<Limbs, uint32_t> divide_short(const Limbs& a, uint32_t divisor);
  static std::pair<Limbs, Limbs> divide_long(const Limbs& a, const Limbs& b);  // quotient, remainder
  static int64_t bit_length(const Limbs& limbs);

  bool negative_ = false;  // never with zero
  Limbs limbs_;
};

}  // namespace nanochat
