// Counter-based words and normals on lanes. Word j of prompt b is one output of
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

// The lanes of a source of words, and functions of them: one lane is one prompt.
template <class F>
struct OfWords {
  using V = LanesLike<F, float>;
  using U = LanesLike<F, uint32_t>;
  using I = LanesLike<F, int32_t>;

  // log(v) for normal v > 0.
  static V logarithm(const V& v) {
    I bits = load<I>(&v);
    const I exponent = (bits - 0x3f400000) >> 23;  // v = 2^exponent (1 + f), 3/4 <= 1 + f < 3/2
    bits -= exponent << 23;
    const V f = load<V>(&bits) - 1.0f;
    return __builtin_convertvector(exponent, V) * 0.69314718f + f * polynomial(f, kLog);
  }

  // A probability below 1/2, from 2^-33 on: all bits of a word but the lowest, which says of
  // which tail it is.
  static V tail_probability(const U& word) {
    return __builtin_convertvector(__builtin_convertvector(word >> 1, I), V) * 0x1p-32f + 0x1p-33f;
  }

  // v, with the other sign if the lowest bit of a word is set.
  static V signed_by(const U& word, const V& v) {
    const U bits = load<U>(&v) ^ (word << 31);
    return load<V>(&bits);
  }

  // The normal quantiles of words, so that both tails reach 2^-33 (6.3 deviations).
  template <int count>
  static void normal_quantiles(const U (&words)[count], V (&z)[count]) {
    V x[count], w[count];
    I outer = {};
#pragma GCC unroll 4
    for (int k = 0; k < count; ++k) {
      const V p = tail_probability(words[k]);
      x[k] = 1.0f - (p + p);
      x[k] = x[k] > 0x1p-25f ? x[k] : V{} + 0x1p-25f;  // never exactly zero
      w[k] = -logarithm(4.0f * p * (1.0f - p));
      z[k] = x[k] * polynomial(V(w[k] * 0.4f - 1.0f), kCentre);
      outer |= w[k] > 5.0f;
    }
    if (any_lane(outer)) {
      for (int k = 0; k < count; ++k) {
        const V t = (square_root<float>(w[k]) - kTailMiddle) * kTailScale;
        z[k] = w[k] > 5.0f ? V(x[k] * polynomial(t, kTail)) : z[k];
      }
    }
    for (int k = 0; k < count; ++k) z[k] = signed_by(words[k], z[k]);
  }
};

// Threefry-2x32 of one key, for the prompts of a lane group.
template <class F>
class Threefry {
 public:
  using U = LanesLike<F, uint32_t>;

  Threefry(const uint32_t* key, int first_prompt) {
    const uint32_t keys[3] = {key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDAu};
    for (int i = 0; i < kLanes<F>; ++i)
      first_[i] = static_cast<uint32_t>(first_prompt + i) + keys[0];
    start_ = keys[1];
    for (uint32_t round = 0; round < 5; ++round) {
      added_[round][0] = U{} + keys[(round + 1) % 3];
      added_[round][1] = U{} + (keys[(round + 2) % 3] + round + 1);
    }
  }

  // Words 2 c and 2 c + 1 of the counters c = counter, counter + stride, ...: several outputs side
  // by side, as each alone is one long chain of operations that wait for each other.
  template <int count>
  void operator()(uint32_t counter, uint32_t stride, U (&x0)[count], U (&x1)[count]) const {
    constexpr int kRotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
#pragma GCC unroll 4
    for (int k = 0; k < count; ++k) {
      x0[k] = first_;
      x1[k] = U{} + (start_ + counter + k * stride);
    }
#pragma GCC unroll 20
    for (int round = 0; round < 20; ++round) {
#pragma GCC unroll 4
      for (int k = 0; k < count; ++k) {
        x0[k] += x1[k];
        x1[k] = rotated(x1[k], kRotations[round / 4 % 2][round % 4]) ^ x0[k];
        if (round % 4 == 3) {
          x0[k] += added_[round / 4][0];
          x1[k] += added_[round / 4][1];
        }
      }
    }
  }

 private:
  U first_, added_[5][2];  // broadcast once, so that they are memory operands
  uint32_t start_;
};

// Normals of words j = 0, 1, 2, ... in turn. They are made `together`, as each alone is a chain of
// operations that wait for each other.
template <class F, int together = 4>
class Normals : public OfWords<F> {
 public:
  using typename OfWords<F>::U;
  using typename OfWords<F>::V;

  Normals(const uint32_t* key, int first_prompt) : words_(key, first_prompt) {}

  V next() {
    if (next_ == together) {
      U even[together / 2], odd[together / 2], words[together];
      words_(counter_, 1, even, odd);
      counter_ += together / 2;
      for (int k = 0; k < together; ++k) words[k] = k % 2 == 0 ? even[k / 2] : odd[k / 2];
      this->normal_quantiles(words, made_);
      next_ = 0;
    }
    return made_[next_++];
  }

 private:
  Threefry<F> words_;
  uint32_t counter_ = 0;
  V made_[together];
  int next_ = together;
};

}  // namespace attnscape
