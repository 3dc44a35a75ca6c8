// SIMD lanes over prompts, by compiler vector extensions (GCC, Clang): one
// lane is one prompt, so every formula below reads as it does for one prompt.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace attnscape {

#if defined(__AVX512F__)
inline constexpr int kRegisterBytes = 64;
inline constexpr int kRegisters = 32;
#elif defined(__AVX__)
inline constexpr int kRegisterBytes = 32;
inline constexpr int kRegisters = 16;
#elif defined(__aarch64__)
inline constexpr int kRegisterBytes = 16;
inline constexpr int kRegisters = 32;
#else
inline constexpr int kRegisterBytes = 16;
inline constexpr int kRegisters = 16;
#endif

template <class E, int count>
struct VectorOf {
  typedef E type __attribute__((vector_size(count * sizeof(E))));
};

template <class F>
inline constexpr int kLanes = kRegisterBytes / static_cast<int>(sizeof(F));

// The lanes that a computation in floating type F runs on.
template <class F>
using Lanes = typename VectorOf<F, kLanes<F>>::type;

// Lanes of another element type, as many as F has.
template <class F, class E>
using LanesLike = typename VectorOf<E, kLanes<F>>::type;

template <class V, class E>
inline V load(const E* from) {
  V v;
  std::memcpy(&v, from, sizeof(V));
  return v;
}

template <class V, class E>
inline void store(E* to, const V& v) {
  std::memcpy(to, &v, sizeof(V));
}

// Loads `valid` lanes and sets the others to zero: the tail of a batch. A
// prompt whose moments are all zero adds nothing to the loss or a gradient.
template <class V, class E>
inline V load_some(const E* from, int valid) {
  V v = {};
  std::memcpy(&v, from, sizeof(E) * valid);
  return v;
}

// Whether any lane of a comparison's result is set.
template <class I>
inline bool any_lane(const I& mask) {
#if defined(__AVX512F__)
  if constexpr (sizeof(I) == 64) {
    __m512i m;
    std::memcpy(&m, &mask, 64);
    return _mm512_test_epi32_mask(m, m) != 0;
  }
#endif
#if defined(__AVX__)
  if constexpr (sizeof(I) == 32) {
    __m256 m;
    std::memcpy(&m, &mask, 32);
    return _mm256_movemask_ps(m) != 0;
  }
#endif
  int32_t found = 0;
  for (unsigned i = 0; i < sizeof(I) / sizeof(int32_t); ++i) found |= mask[i];
  return found != 0;
}

// The sum of a vector of `count` doubles, halving it until one is left.
template <int count>
inline double sum_of_doubles(const typename VectorOf<double, count>::type& v) {
  if constexpr (count == 1) {
    return v[0];
  } else {
    typename VectorOf<double, count / 2>::type halves[2];
    std::memcpy(halves, &v, sizeof(v));
    return sum_of_doubles<count / 2>(halves[0] + halves[1]);
  }
}

// The sum of all lanes, in double and in an order that never changes.
template <class F>
inline double sum_of_lanes(const Lanes<F>& v) {
  constexpr int count = kLanes<double>;
  constexpr int pieces = kLanes<F> / count;
  typename VectorOf<F, count>::type piece[pieces];
  std::memcpy(piece, &v, sizeof(v));
  typename VectorOf<double, count>::type sum = {};
  for (int i = 0; i < pieces; ++i)
    sum += __builtin_convertvector(piece[i], typename VectorOf<double, count>::type);
  return sum_of_doubles<count>(sum);
}

}  // namespace attnscape
