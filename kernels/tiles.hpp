// Products of matrices whose sizes are known at run time: a tile of C stays in registers.
#pragma once

#include "numbers.hpp"
#include "view.hpp"

namespace attnscape {

// Rows x Columns entries of C += A B, held in registers while `inner` runs.
template <bool onto, int Rows, int Columns, class NC, class VA, class VB, int I>
inline void product_tile(NC* c, int stride, int i0, int j0, VA a, VB b, Size<I> inner) {
  using NA = typename VA::Number;
  using NB = typename VB::Number;
  using C = Parts<NC>;
  using A = Parts<NA>;
  using B = Parts<NB>;
  const int depth = inner;
  typename C::Part sum[Rows][Columns][C::kCount];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < Columns; ++j)
#pragma GCC unroll 8
      for (int part = 0; part < C::kCount; ++part)
        sum[i][j][part] = onto ? C::of(c[(i0 + i) * stride + j0 + j], part) : typename C::Part{};
#pragma GCC unroll 2
  for (int k = 0; k < depth; ++k) {
    typename B::Part row[Columns][B::kCount];
#pragma GCC unroll 8
    for (int j = 0; j < Columns; ++j)
#pragma GCC unroll 8
      for (int part = 0; part < B::kCount; ++part) row[j][part] = B::of(b.at(k, j0 + j), part);
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      typename A::Part left[A::kCount];
#pragma GCC unroll 8
      for (int part = 0; part < A::kCount; ++part) left[part] = A::of(a.at(i0 + i, k), part);
#pragma GCC unroll 8
      for (int j = 0; j < Columns; ++j) add_product_of_parts<NC, NA, NB>(sum[i][j], left, row[j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < Columns; ++j)
#pragma GCC unroll 8
      for (int part = 0; part < C::kCount; ++part)
        C::of(c[(i0 + i) * stride + j0 + j], part) = sum[i][j][part];
}

template <bool onto, int Rows, int Columns, class NC, class VA, class VB, int C, int I>
inline void product_rows(Size<C> columns, Size<I> inner, NC* c, int stride, int i0, VA a, VB b) {
  int j = 0;
  for (; j + Columns <= columns; j += Columns)
    product_tile<onto, Rows, Columns>(c, stride, i0, j, a, b, inner);
  if constexpr (Columns > 1) {
    if constexpr (C > 0) {
      if constexpr (C % Columns != 0)
        product_tile<onto, Rows, C % Columns>(c, stride, i0, j, a, b, inner);
    } else {
      for (; j < columns; ++j) product_tile<onto, Rows, 1>(c, stride, i0, j, a, b, inner);
    }
  }
}

constexpr int smaller(int a, int b) { return a < b ? a : b; }

// The sums a tile holds in registers, beside one row of B and one entry of A:
// the whole of an R x C matrix if it fits, else what measured best.
struct Tile {
  int rows, columns;
};
template <int R, int C>
constexpr Tile best_tile(int slots) {
  if (R > 0 && C > 0 && R * C + C + 1 <= slots) return {R, C};
  Tile tile = {2, 2};
  if (slots >= 16) tile = {3, 4};
  if (slots >= 32 && C == 0) tile = {R > 0 ? 6 : 5, 4};
  if (R > 0) tile.rows = smaller(tile.rows, R);
  if (C > 0) tile.columns = smaller(tile.columns, C);
  return tile;
}

template <bool onto, class NC, class VA, class VB, int R, int C, int I>
[[gnu::noinline]] void product_by_tiles(Size<R> rows, Size<C> columns, Size<I> inner, NC* c,
                                        int stride, VA a, VB b) {
  constexpr int slots = kRegisters / Parts<NC>::kCount;
  constexpr int tall = best_tile<R, C>(slots).rows, wide = best_tile<R, C>(slots).columns;
  int i = 0;
  for (; i + tall <= rows; i += tall)
    product_rows<onto, tall, wide>(columns, inner, c, stride, i, a, b);
  if constexpr (tall > 1) {
    if constexpr (R > 0) {
      if constexpr (R % tall != 0)
        product_rows<onto, R % tall, wide>(columns, inner, c, stride, i, a, b);
    } else {
      for (; i < rows; ++i) product_rows<onto, 1, wide>(columns, inner, c, stride, i, a, b);
    }
  }
}

}  // namespace attnscape
