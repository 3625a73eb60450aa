#include "encoder/portable_math.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace nanochat {

namespace {

// 1/n! for n = 0.. as the quotient of two exact doubles (n! is exact up to 22!).
template <int n>
constexpr std::array<double, n> inverse_factorials() {
  std::array<double, n> values{};
  double factorial = 1.0;
  for (int i = 0; i < n; ++i) {
    if (i > 1) factorial *= i;
    values[static_cast<size_t>(i)] = 1.0 / factorial;
  }
  return values;
}
constexpr std::array<double, 20> kInverseFactorial = inverse_factorials<20>();

// sum of (-1)^i square^i / (first + 2 i)! for first 0 or 1, from the highest power down.
double alternating_series(double square, int first) {
  double sum = 0.0;
  for (int i = 18 + first; i >= first; i -= 2) sum = kInverseFactorial[static_cast<size_t>(i)] - square * sum;
  return sum;
}

}  // namespace

SineCosine sine_cosine_of_turns(double turns) {
  const double quarters = std::floor(4.0 * turns + 0.5);
  const double angle = (turns - quarters * 0.25) * (2.0 * std::numbers::pi);  // within +-pi/4
  const double square = angle * angle;
  const double sine = angle * alternating_series(square, 1);
  const double cosine = alternating_series(square, 0);
  switch (static_cast<int64_t>(quarters) & 3) {
    case 0:
      return {sine, cosine};
    case 1:
      return {cosine, -sine};
    case 2:
      return {-sine, -cosine};
    default:
      return {-cosine, sine};
  }
}

double exp2_of_negative(double x) {
  if (!(x < 1022.0)) return 0.0;
  const double whole = std::floor(x + 0.5);
  const double power = (whole - x) * std::numbers::ln2;  // within +-ln(2)/2
  double sum = 0.0;
  for (int i = 17; i >= 0; --i) sum = kInverseFactorial[static_cast<size_t>(i)] + power * sum;
  return std::ldexp(sum, -static_cast<int>(whole));
}

}  // namespace nanochat
