// Functions of the numbers of numbers.hpp beyond sums and products: exponential,
// reciprocal, maximum.
#pragma once

#include <array>

#include "numbers.hpp"

namespace attnscape {

// 1/i! for i below `count`: the coefficients of exp.
template <class F, int count>
constexpr std::array<F, count> inverse_factorials() {
  std::array<F, count> result = {};
  double factorial = 1;
  for (int i = 0; i < count; factorial *= ++i) result[i] = static_cast<F>(1 / factorial);
  return result;
}

// What the exponential needs to know of a floating type.
template <class F>
struct ExponentialOf;

template <>
struct ExponentialOf<float> {
  using Bits = uint32_t;  // wraps where x is so low that the result is 0
  static constexpr int kMantissa = 23, kBias = 127, kTerms = 8;  // r^8 / 8! is 5e-9 at most
  static constexpr float kLowest = -87.0f;
  static constexpr float kLog2High = 0x1.62e4p-1f, kLog2Low = 0x1.7f7d1cp-20f;
};

template <>
struct ExponentialOf<double> {
  using Bits = uint64_t;
  static constexpr int kMantissa = 52, kBias = 1023, kTerms = 14;  // r^14 / 14! is 4e-18 at most
  static constexpr double kLowest = -708.0;
  static constexpr double kLog2High = 0x1.62e42feep-1, kLog2Low = 0x1.a39ef35793c76p-33;
};

// exp(x) for x <= 0, within 1.1 units in the last place. Below kLowest it is 0: such
// a weight is lost beside the largest one of a softmax, which is 1, and subnormal
// numbers are slow.
//
// x = k log 2 + r with |r| <= log(2) / 2, exp(r) by its Taylor series. log 2 comes
// in two parts, the higher short enough that k times it is exact.
template <class F, class V>
inline V exponential_of(const V& x) {
  using Of = ExponentialOf<F>;
  using I = typename VectorOf<typename Of::Bits, sizeof(V) / sizeof(F)>::type;
  // Adding 1.5 * 2^mantissa rounds to a whole number, held in the lowest bits.
  constexpr F kRound = static_cast<F>(int64_t{3} << (Of::kMantissa - 1));
  const V shifted = x * static_cast<F>(1.4426950408889634) + kRound;
  const V whole = shifted - kRound;
  const V r = (x - whole * Of::kLog2High) - whole * Of::kLog2Low;
  constexpr auto kSeries = inverse_factorials<F, Of::kTerms>();
  V sum = V{} + kSeries[Of::kTerms - 1];
#pragma GCC unroll 16
  for (int i = Of::kTerms - 2; i >= 2; --i) sum = sum * r + kSeries[i];
  sum = 1 + (r + r * r * sum);
  I bits;
  std::memcpy(&bits, &shifted, sizeof(V));
  bits = (bits << Of::kMantissa) + (typename Of::Bits{Of::kBias} << Of::kMantissa);
  V power;
  std::memcpy(&power, &bits, sizeof(V));
  // Written so that NaN stays NaN.
  return x < Of::kLowest ? V{} : V(sum * power);
}

inline Lanes<float> exponential(const Lanes<float>& x) { return exponential_of<float>(x); }
inline Lanes<double> exponential(const Lanes<double>& x) { return exponential_of<double>(x); }
template <class V>
inline Dual<V> exponential(const Dual<V>& x) {
  const V value = exponential(x.part[0]);
  return {{value, value * x.part[1]}};
}

template <class V>
inline V reciprocal(const V& x) {
  return 1 / x;
}
template <class V>
inline Dual<V> reciprocal(const Dual<V>& x) {
  const V value = 1 / x.part[0];
  return {{value, -value * value * x.part[1]}};
}

template <class N>
inline N times(const N& a, const N& b) {
  N result = {};
  add_product(result, a, b);
  return result;
}

// a - b, where b may lack the tangent.
template <class NA, class NB>
inline NA minus(const NA& a, const NB& b) {
  NA result = a;
  for (int i = 0; i < Parts<NB>::kCount; ++i) Parts<NA>::of(result, i) -= Parts<NB>::of(b, i);
  return result;
}

template <class V>
inline V maximum(const V& a, const V& b) {
  return a > b ? a : b;
}

}  // namespace attnscape
