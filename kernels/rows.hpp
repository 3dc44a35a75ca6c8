// Sums of products of matrices whose sizes the compiler knows.
#pragma once

#include <type_traits>

#include "numbers.hpp"
#include "view.hpp"

namespace attnscape {

// Adds row `i` of A B to the row of C in `sum`; where that is `fresh`, sets it.
template <class NC, bool fresh, int Columns, class VA, class VB, int Inner>
[[gnu::always_inline]] inline void add_row(
    typename Parts<NC>::Part (&sum)[Columns][Parts<NC>::kCount], int i,
    const Factors<VA, VB, Inner>& factors) {
  using NA = typename VA::Number;
  using NB = typename VB::Number;
  using A = Parts<NA>;
#pragma GCC unroll 8
  for (int k = 0; k < Inner; ++k) {
    typename A::Part left[A::kCount];
#pragma GCC unroll 2
    for (int part = 0; part < A::kCount; ++part) left[part] = A::of(factors.a.at(i, k), part);
#pragma GCC unroll 8
    for (int j = 0; j < Columns; ++j) {
      const auto* right = &Parts<NB>::of(factors.b.at(k, j), 0);
      if (fresh && k == 0) {
        set_product_of_parts<NC, NA, NB>(sum[j], left, right);
      } else {
        add_product_of_parts<NC, NA, NB>(sum[j], left, right);
      }
    }
  }
}

// Row `i` of C = the sum of the products, or of C += it with `onto`. It stays in registers
// while it is summed, and B is read where it lies, by the instruction that multiplies.
// Compilers would rather keep all of B in registers, of which there are too few: after each
// row they are made to forget it.
template <bool onto, int Columns, int RowC, int ColumnC, class NC, class First, class... More>
[[gnu::always_inline]] inline void sum_row(NC* c, int i, const First& first, const More&... more) {
  using C = Parts<NC>;
  typename C::Part sum[Columns][C::kCount];
  if constexpr (onto) {
#pragma GCC unroll 8
    for (int j = 0; j < Columns; ++j)
#pragma GCC unroll 2
      for (int part = 0; part < C::kCount; ++part)
        sum[j][part] = C::of(c[i * RowC + j * ColumnC], part);
  }
  add_row<NC, !onto>(sum, i, first);
  (add_row<NC, false>(sum, i, more), ...);
#pragma GCC unroll 8
  for (int j = 0; j < Columns; ++j)
#pragma GCC unroll 2
    for (int part = 0; part < C::kCount; ++part)
      C::of(c[i * RowC + j * ColumnC], part) = sum[j][part];
  asm volatile("" : : : "memory");
}

// All rows, in a loop: unrolled, the code of a layer would not fit the cache. As a function
// by itself it is compiled once for all that call it.
template <bool onto, int Rows, int Columns, int RowC, int ColumnC, class NC, class... Products>
[[gnu::noinline]] void sum_by_rows(NC* c, Products... products) {
#pragma GCC unroll 1
  for (int i = 0; i < Rows; ++i) sum_row<onto, Columns, RowC, ColumnC>(c, i, products...);
}

// Matrices of so few numbers that a call costs more than the code.
inline constexpr int kFew = 9;

template <bool onto, int Rows, int Columns, int RowC, int ColumnC, class NC, class... Products>
inline void sum_rows(NC* c, Products... products) {
  if constexpr (Rows * Columns <= kFew) {
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) sum_row<onto, Columns, RowC, ColumnC>(c, i, products...);
  } else {
    sum_by_rows<onto, Rows, Columns, RowC, ColumnC>(c, products...);
  }
}

// Whether all lanes share a number, as they do a parameter: an instruction of its own reads it.
template <class N>
inline constexpr bool kShared = std::is_arithmetic_v<typename Parts<N>::Part>;

template <int Depth, class A, class B, int Inner>
constexpr Factors<A, B, (Inner > 0 ? Inner : Depth)> of_depth(Factors<A, B, Inner> factors) {
  return {factors.a, factors.b};
}

template <class A, class B, int Inner>
constexpr auto turned(Factors<A, B, Inner> factors) {
  const auto a = factors.b.turned();
  const auto b = factors.a.turned();
  return Factors<std::decay_t<decltype(a)>, std::decay_t<decltype(b)>, Inner>{a, b};
}

// The sum with shared numbers on the left: the other factor is the one to read where it lies.
template <bool onto, int Rows, int Columns, int Stride, class NC, class A, class B, int Inner,
          class... More>
inline void sum_of_products(NC* c, Factors<A, B, Inner> first, More... more) {
  if constexpr (kShared<typename B::Number>) {
    sum_rows<onto, Columns, Rows, 1, Stride>(c, turned(first), turned(more)...);
  } else {
    sum_rows<onto, Rows, Columns, Stride, 1>(c, first, more...);
  }
}

}  // namespace attnscape
