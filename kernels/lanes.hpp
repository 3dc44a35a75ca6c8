// SIMD lanes over prompts, by compiler vector extensions (GCC, Clang): one
// lane is one prompt, so every formula below reads as it does for one prompt.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

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

// A register of doubles from as many numbers. Compilers convert floats in halves.
inline Lanes<double> load_doubles(const double* from) { return load<Lanes<double>>(from); }
inline Lanes<double> load_doubles(const float* from) {
#if defined(__AVX512F__)
  return (Lanes<double>)_mm512_cvtps_pd(_mm256_loadu_ps(from));
#elif defined(__AVX__)
  return (Lanes<double>)_mm256_cvtps_pd(_mm_loadu_ps(from));
#else
  return __builtin_convertvector(load<LanesLike<double, float>>(from), Lanes<double>);
#endif
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

// Where the numbers of `a` and `b` go when segments of `span` alternate between them:
// the even segments of both, or with `odd` the odd ones.
template <int span, bool odd, class V, int... i>
inline V alternate(const V& a, const V& b, std::integer_sequence<int, i...>) {
  constexpr int count = sizeof...(i);
#define ATTNSCAPE_FROM \
  (i / (2 * span) * 2 * span + i % span + (odd ? span : 0) + (i / span % 2 ? count : 0))...
#if defined(__clang__)
  return __builtin_shufflevector(a, b, ATTNSCAPE_FROM);
#else
  return __builtin_shuffle(a, b, typename VectorOf<int64_t, count>::type{ATTNSCAPE_FROM});
#endif
#undef ATTNSCAPE_FROM
}

// The sums of the lanes of as many vectors of doubles as one has lanes, in the vectors'
// order. Half of the lanes of two vectors plus the other half is one vector with half of
// the work left: after log2(count) rounds every lane is a sum.
template <int span, class V>
inline void sums_of_rows(V* v) {
  constexpr int count = sizeof(V) / sizeof(double);
  if constexpr (span < count) {
    using Lane = std::make_integer_sequence<int, count>;
    for (int i = 0; i < count / (2 * span); ++i)
      v[i] = alternate<span, false>(v[2 * i], v[2 * i + 1], Lane{}) +
             alternate<span, true>(v[2 * i], v[2 * i + 1], Lane{});
    sums_of_rows<2 * span>(v);
  }
}

// The sums of the lanes of as many vectors as a register holds doubles, in double.
template <class F>
inline Lanes<double> sums_of_lanes(const Lanes<F>* v) {
  constexpr int count = kLanes<double>;
  constexpr int pieces = kLanes<F> / count;
  Lanes<double> rows[count];
  for (int i = 0; i < count; ++i) {
    const F* from = reinterpret_cast<const F*>(v + i);
    rows[i] = load_doubles(from);
    for (int k = 1; k < pieces; ++k) rows[i] += load_doubles(from + k * count);
  }
  sums_of_rows<1>(rows);
  return rows[0];
}

// Writes the sum of the lanes of v[i] to sums[i], for all i below `count`.
template <class F>
inline void put_sums_of_lanes(const Lanes<F>* v, int64_t count, double* sums) {
  constexpr int together = kLanes<double>;
  for (; count >= together; count -= together, v += together, sums += together)
    store(sums, sums_of_lanes<F>(v));
  if (count == 0) return;
  Lanes<F> rest[together] = {};
  for (int64_t i = 0; i < count; ++i) rest[i] = v[i];
  const Lanes<double> last = sums_of_lanes<F>(rest);
  std::memcpy(sums, &last, sizeof(double) * count);
}

}  // namespace attnscape
