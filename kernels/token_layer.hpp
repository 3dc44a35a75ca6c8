// One layer as a map of the tokens' moments, for the Hessian: forward, and the
// transpose of its Jacobian.
//
// reduced_form.hpp follows the matrix A_l that the layers before l make. Here are
// the moments of the tokens themselves as layer l finds them,
//
//   G_l = A_l G A_l^T,  q_l = A_l q,  block: c_l = A_l (c + G s_l),
//
// which are fewer numbers, because G_l is symmetric, and whose map needs no A_l:
//
//   X = I + P G Q,  G' = X G X^T,  q' = X q
//   block:  c' = X y  with  y = c + G Q^T c,  -TF = sum over layers of c^T Q q
//   full:   -TF = the last entry of q_L
//
// Adjoints carry the suffix `_bar`. Those of the moments lie packed in a row, and so
// do those of the parameters:
//
//   moments     G_bar (symmetric: row by row up to the diagonal) | q_bar | c_bar
//   parameters  P_bar | Q_bar
#pragma once

#include "form.hpp"
#include "matrix.hpp"
#include "reduced_form.hpp"

namespace attnscape {

constexpr int packed_numbers(int m) { return m * (m + 1) / 2; }
constexpr int state_numbers(Form form, int m) {
  return packed_numbers(m) + (form == Form::block ? 2 * m : m);
}

// `flatten` puts what is small into the functions that ask for it; products of sizes that the
// compiler knows stay functions of their own (rows.hpp).
template <Form form, int M, class F>
class TokenLayer {
  using V = Lanes<F>;
  static constexpr bool block = form == Form::block;
  static constexpr int vectors = block ? 2 : 1;  // q, and c in block form

 public:
  static int64_t room(int m) { return 5 * m * m + 6 * m; }

  TokenLayer(int size, const F* P_matrix, const F* Q_matrix, V* scratch)
      : m(size), P(P_matrix), Q(Q_matrix) {
    const auto take = [&](int count) { return (scratch += count) - count; };
    GQ = take(m * m);
    PG = take((m + 1) * m);
    X = take((m + 1) * m);
    XG = take((m + 2) * m);
    next_gram_ = take(m * m);
    next_query_ = take(m);
    next_cross_ = take(m);
  }

  [[gnu::flatten]] void forward(const LaneMoments<V>& moments) {
    G = moments.gram;
    q = moments.query;
    c = moments.cross;
    product<false>(m, GQ, plain(G, m), plain(Q, m));
    product<false>(m, PG, plain(P, m), plain(G, m));
    product<false>(m, X, plain(P, m), plain(GQ, m));
    for (int i = 0; i < m; ++i) add_one(X[i * m + i]);
    product<false>(m, XG, plain(X, m), plain(G, m));
    product<false>(m, next_gram_, plain(XG, m), transposed(X, m));
    apply<false>(m, next_query_, plain(X, m), q);
    for (int i = 0; i < m * m; ++i) XG[i] *= 2;
    for (int i = 0; i < m; ++i) XG[m * m + i] = q[i];
    if constexpr (block) {
      V* y = XG + (m + 1) * m;
      apply<false>(m, X + m * m, transposed(Q, m), c);
      for (int i = 0; i < m; ++i) y[i] = PG[m * m + i] = c[i];
      apply<true>(m, y, plain(G, m), Qc());
      apply<false>(m, next_cross_, plain(X, m), y);
    }
  }

  const V* Qc() const { return X + m * m; }
  LaneMoments<V> next() const { return {next_gram_, next_cross_, next_query_, V{}}; }

  const Size<M> m;
  const F *P, *Q;
  const V *G, *q, *c;
  V* GQ;
  V* PG;  // P G, and below it c
  V* X;   // X, and below it Q^T c
  V* XG;  // 2 X G, and below it q and y

 private:
  V *next_gram_, *next_query_, *next_cross_;
};

// Adjoints of a layer's output on their way to its parameters and its input:
//
//   X_bar = 2 G'_bar X G + q'_bar q^T + c'_bar y^T,  y_bar = X^T c'_bar
//   P_bar = X_bar (G Q)^T,  Q_bar = (P G)^T X_bar + c (G y_bar)^T
//   G_bar = the symmetric part of  X^T G'_bar X + P^T X_bar Q^T + (Q^T c) y_bar^T
//   q_bar = X^T q'_bar,  c_bar = y_bar + Q G y_bar
//
// without what the layer itself adds to the prediction. Between the two steps
// `enter` and `leave`, more may be added to X_bar and y_bar.
template <Form form, int M, class F>
class LayerAdjoint {
  using V = Lanes<F>;
  static constexpr bool block = form == Form::block;
  static constexpr int vectors = block ? 2 : 1;

 public:
  static int64_t room(int m) { return 5 * m * m + 6 * m; }

  LayerAdjoint(int size, V* scratch) : m(size) {
    const auto take = [&](int count) { return (scratch += count) - count; };
    output_ = take(m * (m + vectors));
    X_bar = take((m + 1) * m);
    E = take((m + 1) * m);
    N = take(m * m);
    K_ = take(m * m);
    q_bar = take(m);
    c_bar = take(m);
    y_bar = E + m * m;
    h = X_bar + m * m;
  }

  // Takes the output's adjoints from `row`, whose numbers are `stride` apart.
  // Without `gram`, those of G' are zero.
  [[gnu::flatten]] void enter(const TokenLayer<form, M, F>& layer, const V* row, int stride,
                              bool gram) {
    unpack(row, stride, gram);
    if (gram) {
      product<false>(m, m, plus<vectors>(), X_bar, m, plain(output_, plus<vectors>()),
                     plain(layer.XG, m));
    } else {
      product<false>(m, m, Size<vectors>(vectors), X_bar, m, plain(output_ + m, plus<vectors>()),
                     plain(layer.XG + m * m, m));
    }
    if constexpr (block) apply<false>(m, y_bar, transposed(layer.X, m), c_bar);
  }

  // Sets `row` to the adjoints of the parameters (without `with_P`, of Q only) and, with
  // `inputs`, behind them those of the moments.
  template <bool inputs, bool with_P = true>
  [[gnu::flatten]] void leave(const TokenLayer<form, M, F>& layer, bool gram, V* row) {
    if constexpr (with_P) product<false>(m, row, plain(X_bar, m), transposed(layer.GQ, m));
    if constexpr (block) apply<false>(m, h, plain(layer.G, m), y_bar);
    product<false>(m, m, plus<vectors - 1>(), row + m * m, m, transposed(layer.PG, m),
                   plain(X_bar, m));
    if constexpr (inputs) leave_inputs(layer, gram, row + 2 * m * m);
  }

  // Beside X_bar and y_bar: E = G'_bar X (with `gram` only), N = P^T X_bar, h = G y_bar.
  const Size<M> m;
  V *X_bar, *y_bar, *E, *N, *h, *q_bar, *c_bar;

  // G'_bar
  auto output_gram() const { return plain(static_cast<const V*>(output_), plus<vectors>()); }

 private:
  // m and a few more, known to the compiler where m is.
  template <int more>
  auto plus() const {
    return Size<(M > 0 ? M + more : 0)>(m + more);
  }

  // By itself: it is the same for all that ask for it, and long.
  [[gnu::noinline]] void unpack(const V* row, int stride, bool gram) {
    const int width = m + vectors;
    if (gram) {
      const V* from = row;
      for (int i = 0; i < m; ++i)
        for (int j = 0; j <= i; ++j, from += stride)
          output_[i * width + j] = output_[j * width + i] = *from;
    }
    row += packed_numbers(m) * stride;
    for (int i = 0; i < m; ++i, row += stride) q_bar[i] = output_[i * width + m] = *row;
    if constexpr (block)
      for (int i = 0; i < m; ++i, row += stride) c_bar[i] = output_[i * width + m + 1] = *row;
  }

  void leave_inputs(const TokenLayer<form, M, F>& layer, bool gram, V* row) {
    product<false>(m, N, transposed(layer.P, m), plain(X_bar, m));
    product<false>(m, K_, plain(N, m), transposed(layer.Q, m));
    if (gram) {
      product<false>(m, E, plain(output_, plus<vectors>()), plain(layer.X, m));
      product<true>(m, m, plus<vectors - 1>(), K_, m, transposed(layer.X, m), plain(E, m));
    } else if constexpr (block) {
      add_outer(m, K_, layer.Qc(), y_bar);
    }
    for (int i = 0; i < m; ++i)
      for (int j = 0; j <= i; ++j) *row++ = (K_[i * m + j] + K_[j * m + i]) * F{0.5};
    apply<false>(m, row, transposed(layer.X, m), q_bar);
    if constexpr (block) {
      row += m;
      for (int i = 0; i < m; ++i) row[i] = y_bar[i];
      apply<true>(m, row, plain(layer.Q, m), h);
    }
  }

  V* output_;  // G'_bar, and beside it q'_bar and c'_bar
  V* K_;
};

}  // namespace attnscape
