// Matrices as products read them. `M` is a size when it is known to the compiler, 0 when it
// is known at run time.
#pragma once

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

// Strides of a view: constants, or where one is 0 a number given at run time.
template <int Row, int Column>
struct Strides {
  static constexpr int row = Row, column = Column;
};
template <>
struct Strides<0, 1> {
  int row;
  static constexpr int column = 1;
};
template <>
struct Strides<1, 0> {
  static constexpr int row = 1;
  int column;
};

// A matrix read as it stands or transposed, without moving anything.
template <class N, int Row, int Column>
struct View : Strides<Row, Column> {
  using Number = N;
  const N* data;
  const N& at(int i, int j) const { return data[i * this->row + j * this->column]; }
  View<N, Column, Row> turned() const {
    if constexpr (Row > 0 && Column > 0) {
      return {{}, data};
    } else {
      return {{Row > 0 ? this->column : this->row}, data};
    }
  }
};

template <class N, int M>
inline View<N, M, 1> plain(const N* a, Size<M> stride) {
  if constexpr (M > 0) {
    return {{}, a};
  } else {
    return {{stride}, a};
  }
}
template <class N>
inline View<N, 0, 1> plain(const N* a, int stride) {
  return {{stride}, a};
}
template <class N, class Stride>
inline auto transposed(const N* a, Stride stride) {
  return plain(a, stride).turned();
}

// A product A B that is one summand of several. `Inner` columns of A and rows of B: 0 where
// they are as many as the sum has.
template <class A, class B, int Inner>
struct Factors {
  A a;
  B b;
};

template <class A, class B>
inline Factors<A, B, 0> factors(A a, B b) {
  return {a, b};
}
template <class A, class B, int Inner, int M>
constexpr auto inner_of(const Factors<A, B, Inner>&, Size<M> m) {
  if constexpr (Inner > 0) {
    return Size<Inner>(Inner);
  } else {
    return m;
  }
}
// x y^T
template <class NX, class NY>
inline Factors<View<NX, 1, 1>, View<NY, 1, 1>, 1> outer(const NX* x, const NY* y) {
  return {{{}, x}, {{}, y}};
}

}  // namespace attnscape
