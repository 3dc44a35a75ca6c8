// Small matrix products on lanes. `M` is the size when it is known to the compiler, 0 when
// it is known at run time. Products of numbers with a tangent have one; see numbers.hpp.
#pragma once

#include "rows.hpp"
#include "tiles.hpp"

namespace attnscape {

// C = A B, or C += A B with `onto`, for C of `rows` x `columns` with rows `stride` apart.
// A and B may be read transposed; C may not be A or B.
template <bool onto, class NC, class VA, class VB, int R, int C, int I, int S>
inline void product(Size<R> rows, Size<C> columns, Size<I> inner, NC* c, Size<S> stride, VA a,
                    VB b) {
  if constexpr (R > 0 && C > 0 && I > 0 && S > 0) {
    sum_of_products<onto, R, C, S>(c, Factors<VA, VB, I>{a, b});
  } else {
    product_by_tiles<onto>(rows, columns, inner, c, stride, a, b);
  }
}
template <bool onto, class NC, class VA, class VB, int R, int C, int I>
inline void product(Size<R> rows, Size<C> columns, Size<I> inner, NC* c, int stride, VA a, VB b) {
  product_by_tiles<onto>(rows, columns, inner, c, stride, a, b);
}

// C = the sum of products `factors(A, B)` and `outer(x, y)`, or C += it with `onto`, for m x m
// matrices.
template <bool onto, class NC, int M, class First, class... More>
inline void products(Size<M> m, NC* c, First first, More... more) {
  if constexpr (M > 0) {
    sum_of_products<onto, M, M, M>(c, of_depth<M>(first), of_depth<M>(more)...);
  } else {
    const auto add = [&](auto onto_c, auto factors) {
      const auto inner = inner_of(factors, m);
      product_by_tiles<decltype(onto_c)::value>(m, m, inner, c, m, factors.a, factors.b);
    };
    add(std::bool_constant<onto>{}, first);
    (add(std::true_type{}, more), ...);
  }
}
template <bool onto, class NC, int M, class VA, class VB>
inline void product(Size<M> m, NC* c, VA a, VB b) {
  products<onto>(m, c, factors(a, b));
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
template <bool onto, class NY, class NX, int M, class VA>
inline void apply(Size<M> m, NY* y, VA a, const NX* x) {
  if constexpr (M > 0) {
    using Row = View<NX, 1, 1>;  // x^T; y^T = x^T A^T reads A where it lies
    const auto turned_a = a.turned();
    sum_rows<onto, 1, M, 1, 1>(
        y, Factors<Row, std::decay_t<decltype(turned_a)>, M>{{{}, x}, turned_a});
  } else {
    for (int i = 0; i < m; ++i) apply_row<onto>(y[i], &a.at(i, 0), a.column, x, m);
  }
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
  products<true>(m, c, outer(x, y));
}

// sum += x . y
template <class N, class NX, class NY, int M>
inline void add_dot(Size<M> m, N& sum, const NX* x, const NY* y) {
  apply_row<true>(sum, x, 1, y, m);
}

}  // namespace attnscape
