// Sine, cosine and powers of two that are the same bits on every machine: only IEEE 754 additions,
// subtractions, multiplications, divisions and exact scalings of doubles, in a fixed order. libm promises no
// such thing. The error is below 4e-16.
#pragma once

namespace nanochat {

// Of an angle in turns (1 is the full circle), |turns| below 2^50: reduced exactly to an eighth of a turn,
// then Taylor's series.
struct SineCosine {
  double sine, cosine;
};
SineCosine sine_cosine_of_turns(double turns);

// 2^-x for x >= 0; 0 from 1022 on.
double exp2_of_negative(double x);

}  // namespace nanochat
