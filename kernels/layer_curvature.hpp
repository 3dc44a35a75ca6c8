// Second derivatives of the prediction within one layer, for the Hessian. The layer is
// that of token_layer.hpp; what comes after it is given by the adjoints of its output.
//
// Along one direction of the layer's parameters or moments (an entry of P, Q, G, q or c)
// the adjoints of parameters and moments change for two reasons: the adjoints of the
// output change, which `LayerAdjoint` carries on; and the layer's own values change,
// which the functions below add, `enter_...` to X_bar and y_bar, then `leave_...` to the
// row that `LayerAdjoint::leave` has made. With a dot for the change of a value,
//
//   X. = P. G Q + P G. Q + P G Q.,  y. = c. + G. Q^T c + G Q.^T c + G Q^T c.
//   to X_bar  2 G'_bar X. G + 2 E G. + q'_bar q.^T + c'_bar y.^T
//   to y_bar  X.^T c'_bar
//   to P_bar  X_bar Q^T G.
//   to Q_bar  G P.^T X_bar + G. N + c. h^T + c (G. y_bar)^T + t (c. q^T + c q.^T)
//   to G_bar  the symmetric part of 2 X.^T E + y_bar (Q^T c.)^T
//   to q_bar  X.^T q'_bar + t Q^T c.
//   to c_bar  Q G. y_bar + t Q q.
//
// where E = G'_bar X, N = P^T X_bar, h = G y_bar, and t is the adjoint of the prediction;
// terms with c, y and t are of the block form. A change along one entry fills one row or
// column of G., P. or Q., and X. is an outer product, so each term takes few operations.
// Along P only the parameters' adjoints are wanted, and along Q only Q_bar: the rest of
// the Hessian follows by symmetry.
#pragma once

#include <algorithm>

#include "token_layer.hpp"

namespace attnscape {

template <Form form, int M, class F>
class LayerCurvature {
  using V = Lanes<F>;
  using Layer = TokenLayer<form, M, F>;
  using Adjoint = LayerAdjoint<form, M, F>;
  static constexpr bool block = form == Form::block;

 public:
  static int64_t room(int m) { return 10 * m * m + 8 * m; }

  LayerCurvature(int size, Adjoint& adjoint, V* scratch) : m(size), at(adjoint) {
    const auto take = [&](int count) { return (scratch += count) - count; };
    for (V** matrix : {&X_bar_, &N_, &E_, &XQ_, &G2_, &PG_, &GPG_, &QG_, &GQG_, &PE_})
      *matrix = take(m * m);
    for (V** vector : {&y_bar_, &h_, &q_bar_, &c_bar_, &Pq_, &Pc_, &GPc_, &scaled_})
      *vector = take(m);
  }

  // `row`: the adjoints of the layer's output, `prediction`: that of the prediction.
  // `other` takes the adjoints of the layer's parameters and moments.
  [[gnu::flatten]] void set(const Layer& layer, const V* row, const V& prediction, V* other) {
    of = &layer;
    t = prediction;
    at.enter(layer, row, 1, true);
    at.template leave<true>(layer, true, other);
    copy(X_bar_, at.X_bar, m * m);
    copy(N_, at.N, m * m);
    copy(E_, at.E, m * m);
    copy(q_bar_, at.q_bar, m);
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < m; ++j) G2_[i * m + j] = 2 * at.output_gram().at(i, j);
    product<false>(m, PG_, transposed(layer.P, m), plain(G2_, m));
    product<false>(m, GPG_, plain(layer.G, m), plain(PG_, m));
    product<false>(m, QG_, plain(layer.Q, m), plain(layer.G, m));
    product<false>(m, GQG_, plain(layer.GQ, m), plain(layer.G, m));
    product<false>(m, XQ_, plain(X_bar_, m), transposed(layer.Q, m));
    product<false>(m, PE_, transposed(layer.P, m), plain(at.E, m));
    apply<false>(m, Pq_, transposed(layer.P, m), q_bar_);
    if constexpr (block) {
      copy(y_bar_, at.y_bar, m);
      copy(h_, at.h, m);
      copy(c_bar_, at.c_bar, m);
      apply<false>(m, Pc_, transposed(layer.P, m), c_bar_);
      apply<false>(m, GPc_, transposed(layer.PG, m), c_bar_);
    }
  }

  // Along entry (i, j) of P.
  [[gnu::flatten]] void enter_P(int i, int j) {
    add_outer(m, at.X_bar, G2_ + i * m, GQG_ + j * m);
    if constexpr (block) add_to_row(at.y_bar, c_bar_[i], of->GQ + j * m);
  }
  [[gnu::flatten]] void leave_P(int i, int j, V* row) {
    add_outer(m, row + m * m, of->G + j * m, X_bar_ + i * m);
  }

  // Along entry (i, j) of Q.
  [[gnu::flatten]] void enter_Q(int i, int j) {
    const V* column = GPG_ + i * m;
    if constexpr (block) {
      for (int k = 0; k < m; ++k) scaled_[k] = column[k] + of->c[i] * c_bar_[k];
      column = scaled_;
      at.y_bar[j] += GPc_[i];
    }
    add_outer(m, at.X_bar, column, of->G + j * m);
  }

  // Along `weight` times entry (i, j) of G, as if (j, i) were another.
  [[gnu::flatten]] void enter_G(int i, int j, F weight) {
    add_outer(m, at.X_bar, scaled(weight, PG_ + i * m), QG_ + j * m);
    add_to_column(at.X_bar, j, 2 * weight, E_ + i, m);
    if constexpr (block) {
      add_to_column(at.X_bar, i, weight * of->Qc()[j], c_bar_, 1);
      add_to_row(at.y_bar, weight * Pc_[i], of->Q + j * m);
    }
  }
  [[gnu::flatten]] void leave_G(int i, int j, F weight, V* row) {
    V *P_bar = row, *Q_bar = row + m * m, *G_bar = row + 2 * m * m;
    V *q_bar = G_bar + packed_numbers(m), *c_bar = q_bar + m;
    add_to_column(P_bar, i, weight, XQ_ + j, m);
    add_to_row(Q_bar + j * m, weight, N_ + i * m);
    add_symmetric_part(G_bar, 2 * weight, PE_ + i * m, of->Q + j * m);
    add_to_row(q_bar, weight * Pq_[i], of->Q + j * m);
    if constexpr (block) {
      add_to_column(Q_bar, j, weight * y_bar_[i], of->c, 1);
      for (int k = 0; k < m; ++k) c_bar[k] += weight * of->Q[k * m + j] * y_bar_[i];
    }
  }

  // Along entry i of q.
  [[gnu::flatten]] void enter_q(int i) { add_to_column(at.X_bar, i, F{1}, q_bar_, 1); }
  [[gnu::flatten]] void leave_q(int i, V* row) {
    if constexpr (block) {
      V* c_bar = row + 2 * m * m + packed_numbers(m) + m;
      add_to_column(row + m * m, i, t, of->c, 1);
      for (int k = 0; k < m; ++k) c_bar[k] += of->Q[k * m + i] * t;
    }
  }

  // Along entry i of c.
  [[gnu::flatten]] void enter_c(int i) {
    add_outer(m, at.X_bar, c_bar_, QG_ + i * m);
    add_to_column(at.X_bar, i, F{1}, c_bar_, 1);
  }
  [[gnu::flatten]] void leave_c(int i, V* row) {
    V *Q_bar = row + m * m, *G_bar = row + 2 * m * m, *q_bar = G_bar + packed_numbers(m);
    add_to_row(Q_bar + i * m, F{1}, h_);
    add_to_row(Q_bar + i * m, t, of->q);
    add_symmetric_part(G_bar, F{1}, y_bar_, of->Q + i * m);
    add_to_row(q_bar, t, of->Q + i * m);
  }

 private:
  static void copy(V* to, const V* from, int count) { std::copy(from, from + count, to); }

  template <class Factor>
  const V* scaled(const Factor& factor, const V* x) {
    for (int i = 0; i < m; ++i) scaled_[i] = factor * x[i];
    return scaled_;
  }

  template <class Factor, class X>
  void add_to_row(V* row, const Factor& factor, const X* x) {
    for (int i = 0; i < m; ++i) row[i] += factor * x[i];
  }

  template <class Factor>
  void add_to_column(V* matrix, int column, const Factor& factor, const V* x, int stride) {
    for (int i = 0; i < m; ++i) matrix[i * m + column] += factor * x[i * stride];
  }

  // The symmetric part of x y^T times a factor, onto a packed matrix.
  void add_symmetric_part(V* packed, F factor, const V* x, const F* y) {
    const F half = factor / 2;
    for (int i = 0; i < m; ++i)
      for (int j = 0; j <= i; ++j) *packed++ += half * (x[i] * y[j] + x[j] * y[i]);
  }

  const Size<M> m;
  Adjoint& at;
  const Layer* of = nullptr;
  V t = {};
  V *X_bar_, *N_, *E_;               // of the layer's own adjoints
  V *G2_, *PG_, *GPG_;               // 2 G'_bar, P^T times that, G times that
  V *QG_, *GQG_, *PE_;               // Q G, G Q G, P^T E
  V* XQ_;                            // X_bar Q^T
  V *y_bar_, *h_, *q_bar_, *c_bar_;  // of the layer's own adjoints; q'_bar and c'_bar
  V *Pq_, *Pc_, *GPc_;               // P^T q'_bar, P^T c'_bar, G P^T c'_bar
  V* scaled_;
};

}  // namespace attnscape
