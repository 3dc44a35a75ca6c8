// The number types that the reduced form is instantiated with. The formula is
// written once (reduced_form.hpp), in terms of `add_product`; the number type
// decides what it computes:
//   Lanes<F>        loss and gradient
//   Dual<Lanes<F>>  the same with a tangent: Hessian-vector products
//   Counted         nothing: it counts floating-point operations
//   Dual<Counted>   the same of a Hessian-vector product
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include "lanes.hpp"

namespace attnscape {

// value + tangent eps, where eps eps = 0.
template <class E>
struct Dual {
  E part[2];
};

// The tangent of a Dual alone: all that is wanted of a gradient's derivative.
template <class E>
struct Tangent {
  E part[1];
};

// A number that only counts. Additions and multiplications are one operation
// each, so a fused product is two.
struct Counted {
  static inline thread_local int64_t operations = 0;

  template <class Other>
  Counted& operator+=(const Other&) {
    ++operations;
    return *this;
  }
  friend Counted operator*(const Counted&, const Counted&) {
    ++operations;
    return {};
  }
};

// The parts of a number, the value before the tangent, so that tiles can keep
// each part in a register: compilers give up on arrays of structures.
template <class N>
struct Parts {
  using Part = N;
  static constexpr int kValues = 1, kTangents = 0, kCount = 1;
  static const Part& of(const N& n, int) { return n; }
  static Part& of(N& n, int) { return n; }
};
template <class N, class E, int values, int tangents>
struct PartsOfStructure {
  using Part = E;
  static constexpr int kValues = values, kTangents = tangents, kCount = values + tangents;
  static const Part& of(const N& n, int i) { return n.part[i]; }
  static Part& of(N& n, int i) { return n.part[i]; }
};
template <class E>
struct Parts<Dual<E>> : PartsOfStructure<Dual<E>, E, 1, 1> {};
template <class E>
struct Parts<Tangent<E>> : PartsOfStructure<Tangent<E>, E, 0, 1> {};

// What a gradient of numbers N is summed in, on parts E: of duals, only the
// tangent is wanted.
template <class N, class E>
using SumOf = std::conditional_t<(Parts<N>::kTangents > 0), Tangent<E>, E>;

// What a lane of a number holds.
template <class N>
using Element = std::decay_t<decltype(std::declval<typename Parts<N>::Part>()[0])>;

// sum += a * b, on arrays of parts. NC, NA, NB say what the arrays are parts of. A
// call would cost more than the work, yet compilers count it as too large to inline.
template <class NC, class NA, class NB>
[[gnu::always_inline]] inline void add_product_of_parts(typename Parts<NC>::Part* sum,
                                                        const typename Parts<NA>::Part* a,
                                                        const typename Parts<NB>::Part* b) {
  using C = Parts<NC>;
  if constexpr (C::kValues == 1) sum[0] += a[0] * b[0];
  if constexpr (C::kTangents == 1) {
    if constexpr (Parts<NB>::kTangents == 1) sum[C::kValues] += a[0] * b[1];
    if constexpr (Parts<NA>::kTangents == 1) sum[C::kValues] += a[1] * b[0];
  }
}

// sum = a * b, likewise.
template <class NC, class NA, class NB>
[[gnu::always_inline]] inline void set_product_of_parts(typename Parts<NC>::Part* sum,
                                                        const typename Parts<NA>::Part* a,
                                                        const typename Parts<NB>::Part* b) {
  using C = Parts<NC>;
  if constexpr (C::kValues == 1) sum[0] = a[0] * b[0];
  if constexpr (C::kTangents == 1) {
    typename C::Part& tangent = sum[C::kValues];
    if constexpr (Parts<NB>::kTangents == 1) {
      tangent = a[0] * b[1];
      if constexpr (Parts<NA>::kTangents == 1) tangent += a[1] * b[0];
    } else if constexpr (Parts<NA>::kTangents == 1) {
      tangent = a[1] * b[0];
    } else {
      tangent = {};
    }
  }
}

template <class NC, class NA, class NB>
inline void add_product(NC& sum, const NA& a, const NB& b) {
  add_product_of_parts<NC, NA, NB>(&Parts<NC>::of(sum, 0), &Parts<NA>::of(a, 0),
                                   &Parts<NB>::of(b, 0));
}

// sum += a, where a may lack the tangent.
template <class NC, class NA>
inline void add(NC& sum, const NA& a) {
  for (int i = 0; i < Parts<NA>::kCount; ++i) Parts<NC>::of(sum, i) += Parts<NA>::of(a, i);
}

// sum += a, where the sum may be of the tangent alone.
template <class Sum, class N>
inline void add_wanted(Sum& sum, const N& a) {
  constexpr int skipped = Parts<N>::kCount - Parts<Sum>::kCount;
  for (int i = 0; i < Parts<Sum>::kCount; ++i)
    Parts<Sum>::of(sum, i) += Parts<N>::of(a, skipped + i);
}

template <class N>
inline N twice(const N& a) {
  N sum = a;
  add(sum, a);
  return sum;
}

// a times a constant.
template <class N, class F>
inline void multiply(N& a, F constant) {
  for (int i = 0; i < Parts<N>::kCount; ++i) Parts<N>::of(a, i) *= constant;
}

// Sets `a` to zero on the lanes where the value of `of` is not positive: ReLU of
// a number, and of an adjoint. Where `of` is NaN, `a` stays as it is.
template <class N>
inline void rectify(N& a, const N& of) {
  const auto off = Parts<N>::of(of, 0) <= 0;
  for (int i = 0; i < Parts<N>::kCount; ++i) {
    auto& part = Parts<N>::of(a, i);
    part = off ? typename Parts<N>::Part{} : part;
  }
}

// Sets the lanes from `valid` on to zero, as load_some does.
template <class N>
inline void keep_lanes(N& a, int valid) {
  for (int i = 0; i < Parts<N>::kCount; ++i) {
    auto& part = Parts<N>::of(a, i);
    const auto whole = part;
    part = load_some<typename Parts<N>::Part>(reinterpret_cast<const Element<N>*>(&whole), valid);
  }
}

template <class N>
inline void add_one(N& a) {
  Parts<N>::of(a, 0) += 1;
}

}  // namespace attnscape
