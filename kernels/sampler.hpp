// Counter-based normals on lanes. Word j of prompt b is one output of
// Threefry-2x32 (Salmon et al. 2011, 20 rounds) with the caller's key and the
// counter (b, j / 2); both words of an output are used. A word becomes a normal
// by inversion. tasks/_normals.py states the same function in JAX: the two are
// tested to agree to rounding.
#pragma once

#include <cmath>

#include "lanes.hpp"

namespace attnscape {

template <class U>
inline U rotated(const U& x, int by) {
  return (x << by) | (x >> (32 - by));
}

template <class U>
inline void threefry(uint32_t key0, uint32_t key1, U& x0, U& x1) {
  constexpr int kRotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  const uint32_t keys[3] = {key0, key1, key0 ^ key1 ^ 0x1BD11BDAu};
  x0 += keys[0];
  x1 += keys[1];
#pragma GCC unroll 5
  for (uint32_t round = 0; round < 5; ++round) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      x0 += x1;
      x1 = rotated(x1, kRotations[round % 2][i]) ^ x0;
    }
    x0 += keys[(round + 1) % 3];
    x1 += keys[(round + 2) % 3] + (round + 1);
  }
}

// Horner's rule, highest power last in `c`.
template <class V, int count>
inline V polynomial(const V& t, const float (&c)[count]) {
  V sum = V{} + c[count - 1];
#pragma GCC unroll 16
  for (int i = count - 2; i >= 0; --i) sum = sum * t + c[i];
  return sum;
}

// Coefficients: minimax fits of relative error 3e-8 (logarithm), 1e-7 (centre)
// and 3e-7 (tail) to scipy's functions; the same numbers stand in tasks/_normals.py.
inline constexpr float kLog[] = {1.0f,         -0.50000066f, 0.33333594f,
                                 -0.24993218f, 0.19975913f,  -0.16824313f,
                                 0.14994496f,  -0.12076715f, 0.054111693f};
inline constexpr float kCentre[] = {2.1233137f,     0.87200665f,    -0.036926068f,
                                    -0.027703283f,  0.01207618f,    -0.00060722587f,
                                    -0.0012183997f, 0.00029669428f, 6.1576284e-05f};
inline constexpr float kTail[] = {4.6288276f,     1.7116226f,      0.0075798249f,
                                  -0.0056994208f, 0.0036364782f,   -0.003408514f,
                                  0.0029498695f,  -0.00094917993f, -0.00012794415f};
inline constexpr float kTailMiddle = 3.438034f, kTailScale = 1 / 1.201966f;

template <class F, class V>
inline V square_root(const V& v) {
  constexpr int count = sizeof(V) / sizeof(F);
  F lanes[count];
  store(lanes, v);
  for (int i = 0; i < count; ++i) lanes[i] = std::sqrt(lanes[i]);
  return load<V>(lanes);
}

template <class F>
struct Normals {
  using V = LanesLike<F, float>;
  using U = LanesLike<F, uint32_t>;
  using I = LanesLike<F, int32_t>;
  static constexpr int kCount = kLanes<F>;

  // log(v) for normal v > 0.
  static V logarithm(const V& v) {
    I bits;
    std::memcpy(&bits, &v, sizeof(V));
    const I exponent = (bits - 0x3f400000) >> 23;  // v = 2^exponent (1 + f), 3/4 <= 1 + f < 3/2
    bits -= exponent << 23;
    V f;
    std::memcpy(&f, &bits, sizeof(V));
    f -= 1.0f;
    return __builtin_convertvector(exponent, V) * 0.69314718f + f * polynomial(f, kLog);
  }

  // The normal quantile of a word: its lowest bit is the sign, the others the
  // tail probability, so that both tails reach 2^-33 (6.3 deviations).
  static V quantile(const U& word) {
    const V p =
        __builtin_convertvector(__builtin_convertvector(word >> 1, I), V) * 0x1p-32f + 0x1p-33f;
    V x = 1.0f - (p + p);
    x = x > 0x1p-25f ? x : V{} + 0x1p-25f;  // never exactly zero
    const V w = -logarithm(4.0f * p * (1.0f - p));
    V z = x * polynomial(V(w * 0.4f - 1.0f), kCentre);
    const I outer = w > 5.0f;
    if (any_lane(outer)) {
      const V t = (square_root<float>(w) - kTailMiddle) * kTailScale;
      z = outer ? V(x * polynomial(t, kTail)) : z;
    }
    const U sign = word << 31;
    U bits;
    std::memcpy(&bits, &z, sizeof(V));
    bits |= sign;
    std::memcpy(&z, &bits, sizeof(V));
    return z;
  }

  Normals(const uint32_t* key, int first_prompt) : key0_(key[0]), key1_(key[1]) {
    for (int i = 0; i < kCount; ++i) prompt_[i] = static_cast<uint32_t>(first_prompt + i);
  }

  // Words j = 0, 1, 2, ... in turn.
  V next() {
    if (held_) {
      held_ = false;
      return second_;
    }
    U x0 = prompt_, x1 = U{} + counter_++;
    threefry(key0_, key1_, x0, x1);
    second_ = quantile(x1);
    held_ = true;
    return quantile(x0);
  }

 private:
  uint32_t key0_, key1_;
  uint32_t counter_ = 0;
  U prompt_;
  V second_ = {};
  bool held_ = false;
};

}  // namespace attnscape
