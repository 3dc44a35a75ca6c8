// SIMD lanes over prompts, by compiler vector extensions (GCC, Clang): one
// lane is one prompt, so every formula below reads as it does for one prompt.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
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

// Sums over prompts run on as many lanes as the widest registers have: where registers are
// narrower, `kParts` of them stand side by side, and every instruction set adds the same
// numbers in the same order.
inline constexpr int kParts = 64 / kRegisterBytes;
template <class F>
inline constexpr int kAllLanes = kParts * kLanes<F>;

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

// A register of doubles from as many numbers. For AVX2, GCC would convert halves of it.
inline Lanes<double> load_doubles(const double* from) { return load<Lanes<double>>(from); }
inline Lanes<double> load_doubles(const float* from) {
#if defined(__AVX__) && !defined(__AVX512F__)
  return _mm256_cvtps_pd(_mm_loadu_ps(from));
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

// The parts v[0], v[stride], ... added up to one register of doubles, in an order that never
// changes.
template <class F>
inline Lanes<double> sum_of_parts(const Lanes<F>* v, int64_t stride) {
  constexpr int count = kLanes<double>;
  constexpr int pieces = kLanes<F> / count;  // of one part
  Lanes<double> sum[kParts];
  for (int i = 0; i < kParts * pieces; ++i) {
    const F* part = reinterpret_cast<const F*>(v + i / pieces * stride);
    const Lanes<double> piece = load_doubles(part + i % pieces * count);
    sum[i % kParts] = i < kParts ? piece : sum[i % kParts] + piece;
  }
  for (int half = kParts / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) sum[i] += sum[half + i];
  return sum[0];
}

// The sum of all lanes of the parts v[0], v[stride], ...
template <class F>
inline double sum_of_lanes(const Lanes<F>* v, int64_t stride) {
  return sum_of_doubles<kLanes<double>>(sum_of_parts<F>(v, stride));
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
  using Index = std::conditional_t<sizeof(a[0]) == 8, int64_t, int32_t>;
  return __builtin_shuffle(a, b, typename VectorOf<Index, count>::type{ATTNSCAPE_FROM});
#endif
#undef ATTNSCAPE_FROM
}

#if defined(__AVX512F__)
inline __m512d gather_doubles(const double* from, __m512i bytes) {
  // With a mask, as GCC warns of its header's form without one.
  return _mm512_mask_i64gather_pd(__m512d{}, 0xff, bytes, from, 1);
}
#endif
#if defined(__AVX2__)
inline __m256d gather_doubles(const double* from, __m256i bytes) {
  return _mm256_i64gather_pd(from, bytes, 1);
}
#endif

template <class V>
struct Neighbours {
  V first, second;
};

// from[index] and from[index + 1] of every lane, index >= 0: where one instruction gathers numbers,
// both as one of twice the width, of even and of odd lanes.
template <class V, class I>
inline Neighbours<V> gather_neighbours(const float* from, const I& index) {
  constexpr int lanes = sizeof(V) / sizeof(float);
#if defined(__AVX2__)
  if constexpr (sizeof(V) >= 32) {
    using Lane = std::make_integer_sequence<int, lanes>;
    using Pairs = typename VectorOf<long long, lanes / 2>::type;
    const Pairs two = load<Pairs>(&index);
    const auto* numbers = reinterpret_cast<const double*>(from);
    const auto even = gather_doubles(numbers, (two << 32) >> 30);
    const auto odd = gather_doubles(numbers, (two >> 32) << 2);
    const V a = load<V>(&even), b = load<V>(&odd);
    return {alternate<1, false>(a, b, Lane{}), alternate<1, true>(a, b, Lane{})};
  }
#endif
  Neighbours<V> found = {};
  for (int i = 0; i < lanes; ++i) found.first[i] = from[index[i]];
  for (int i = 0; i < lanes; ++i) found.second[i] = from[index[i] + 1];
  return found;
}

// Sums of `end` neighbouring lanes of as many vectors, in the vectors' order, for each such
// segment of lanes: they end in v[0]. Half of the lanes of two vectors plus the other half is
// one vector with half of the work left.
template <int span, int end, class V>
inline void sums_of_rows(V* v) {
  if constexpr (span < end) {
    using Lane = std::make_integer_sequence<int, sizeof(V) / sizeof(v[0][0])>;
    for (int i = 0; i < end / (2 * span); ++i)
      v[i] = alternate<span, false>(v[2 * i], v[2 * i + 1], Lane{}) +
             alternate<span, true>(v[2 * i], v[2 * i + 1], Lane{});
    sums_of_rows<2 * span, end>(v);
  }
}

// The sums of the lanes of as many registers of doubles as one has lanes, in their order. The
// upper half of eight lanes goes first, so that AVX2 and AVX-512 add alike.
inline Lanes<double> add_lanes_of_rows(Lanes<double>* v) {
  constexpr int rows = kLanes<double>;
  if constexpr (rows == 8) {
    using Lane = std::make_integer_sequence<int, rows>;
    for (int i = 0; i < 4; ++i)
      v[i] =
          alternate<4, false>(v[i], v[i + 4], Lane{}) + alternate<4, true>(v[i], v[i + 4], Lane{});
  }
  sums_of_rows<1, rows == 8 ? 4 : rows>(v);
  return v[0];
}

// sums[i] = the sum of all lanes of the parts v[i], v[i + stride], ..., for i below `count`.
template <class F>
inline void sums_of_lanes(const Lanes<F>* v, int64_t stride, int64_t count, double* sums) {
  constexpr int rows = kLanes<double>;
  int64_t i = 0;
  for (; i + rows <= count; i += rows) {
    Lanes<double> sum[rows];
    for (int row = 0; row < rows; ++row) sum[row] = sum_of_parts<F>(v + i + row, stride);
    store(sums + i, add_lanes_of_rows(sum));
  }
  if (i == count) return;
  Lanes<double> sum[rows] = {};
  for (int row = 0; row < count - i; ++row) sum[row] = sum_of_parts<F>(v + i + row, stride);
  const Lanes<double> last = add_lanes_of_rows(sum);
  std::memcpy(sums + i, &last, sizeof(double) * (count - i));
}

// Lanes whose numbers are added to each other before their sum goes on in double: no more
// than 32 bytes hold, so that AVX2 and AVX-512 add alike.
template <class F>
inline constexpr int kSegment = (kRegisterBytes < 32 ? kRegisterBytes : 32) / int{sizeof(F)};

// Adds the sum of the lanes of v[i] to sums[i], for i < kSegment; overwrites v.
template <class F>
inline void add_sums_of_lanes(Lanes<F>* v, double* sums) {
  constexpr int count = kSegment<F> < kLanes<double> ? kSegment<F> : kLanes<double>;
  using Doubles = typename VectorOf<double, count>::type;
  using Numbers = typename VectorOf<F, count>::type;
  sums_of_rows<1, kSegment<F>>(v);
  for (int i = 0; i < kLanes<F>; i += count) {
    double* to = sums + i % kSegment<F>;
    const Numbers numbers = load<Numbers>(reinterpret_cast<const F*>(v) + i);
    store(to, Doubles(load<Doubles>(to) + __builtin_convertvector(numbers, Doubles)));
  }
}

}  // namespace attnscape
