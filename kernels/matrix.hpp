// Small matrix products on lanes. `M` is the size when it is known to the
// compiler (everything unrolls into registers), 0 when it is known at run time.
#pragma once

#include <type_traits>

#include "numbers.hpp"

namespace attnscape {

// Whether there is code for particular sizes, beside that for all of them.
#if defined(ATTNSCAPE_GENERAL_SIZES)
inline constexpr bool kParticularSizes = false;
#else
inline constexpr bool kParticularSizes = true;
#endif

// A size: a constant for M > 0, else the number given at run time.
template <int M>
struct Size {
  explicit constexpr Size(int) {}
  constexpr operator int() const { return M; }
};
template <>
struct Size<0> {
  int value;
  explicit constexpr Size(int v) : value(v) {}
  constexpr operator int() const { return value; }
};

// A matrix read as it stands or transposed, without moving anything.
template <class N>
struct View {
  const N* data;
  int row_stride;
  int column_stride;
  const N& at(int i, int j) const { return data[i * row_stride + j * column_stride]; }
};

template <class N>
inline View<N> plain(const N* a, int stride) {
  return {a, stride, 1};
}
template <class N>
inline View<N> transposed(const N* a, int stride) {
  return {a, 1, stride};
}

// Rows x Columns entries of C += A B, held in registers while `inner` runs.
template <bool onto, int Rows, int Columns, class NC, class NA, class NB, int I>
inline void product_tile(NC* c, int stride, int i0, int j0, View<NA> a, View<NB> b, Size<I> inner) {
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
#pragma GCC unroll 8
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

template <bool onto, int Rows, int Columns, class NC, class NA, class NB, int C, int I>
inline void product_rows(Size<C> columns, Size<I> inner, NC* c, int stride, int i0, View<NA> a,
                         View<NB> b) {
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

// C = A B, or C += A B with `onto`, for C of `rows` x `columns` with rows
// `stride` apart. A and B may be read transposed; C may not be A or B.
template <bool onto, class NC, class NA, class NB, int R, int C, int I>
inline void product(Size<R> rows, Size<C> columns, Size<I> inner, NC* c, int stride, View<NA> a,
                    View<NB> b) {
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

// The same for m x m matrices.
template <bool onto, class NC, class NA, class NB, int M>
inline void product(Size<M> m, NC* c, View<NA> a, View<NB> b) {
  product<onto>(m, m, m, c, m, a, b);
}

// One entry of A x, held in registers.
template <bool onto, class NY, class NA, class NX>
inline void apply_row(NY& y, const NA* row, int stride, const NX* x, int m) {
  using Y = Parts<NY>;
  typename Y::Part sum[Y::kCount];
  for (int part = 0; part < Y::kCount; ++part)
    sum[part] = onto ? Y::of(y, part) : typename Y::Part{};
#pragma GCC unroll 8
  for (int j = 0; j < m; ++j)
    add_product_of_parts<NY, NA, NX>(sum, &Parts<NA>::of(row[j * stride], 0),
                                     &Parts<NX>::of(x[j], 0));
  for (int part = 0; part < Y::kCount; ++part) Y::of(y, part) = sum[part];
}

// y = A x, or y += A x with `onto`.
template <bool onto, class NY, class NA, class NX, int M>
inline void apply(Size<M> m, NY* y, View<NA> a, const NX* x) {
  for (int i = 0; i < m; ++i)
    apply_row<onto>(y[i], a.data + i * a.row_stride, a.column_stride, x, m);
}

// y = x, where x may lack the tangent.
template <class NY, class NX>
inline void set_values(int count, NY* y, const NX* x) {
  for (int i = 0; i < count; ++i) {
    y[i] = NY{};
    add(y[i], x[i]);
  }
}

// C += x y^T.
template <class NC, class NX, class NY, int M>
inline void add_outer(Size<M> m, NC* c, const NX* x, const NY* y) {
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < m; ++j) add_product(c[i * m + j], x[i], y[j]);
}

// C = x y^T.
template <class NC, class NX, class NY, int M>
inline void set_outer(Size<M> m, NC* c, const NX* x, const NY* y) {
  for (int i = 0; i < m * m; ++i) c[i] = NC{};
  add_outer(m, c, x, y);
}

// sum += x . y
template <class N, class NX, class NY, int M>
inline void add_dot(Size<M> m, N& sum, const NX* x, const NY* y) {
  apply_row<true>(sum, x, 1, y, m);
}

}  // namespace attnscape
