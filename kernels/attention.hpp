// Loss and gradient of attention in its token form, forward and backward, for one
// group of lanes. With Z of r = d + 1 rows and one column a token, the query last:
//
//   Z_{l+1} = Z_l + P_l Z_l M W_l,  W_l = act(Z_l^T Q_l Z_l),  TF = -[Z_L]_{r, n+1}
//
// act works on the scores of one query (activation.hpp), M takes the last column out
// of the sum. In the block form P and Q act on the first d rows; on the last row P is
// 1 and Q is 0. The last layer is the same code with the last token as its only
// query: no other reaches the prediction.
//
// Adjoints carry the suffix `_bar`. Nothing here knows which number type it works
// on; see numbers.hpp.
#pragma once

#include "activation.hpp"
#include "arena.hpp"
#include "form.hpp"
#include "matrix.hpp"

namespace attnscape {

// Everything one layer's backward pass needs from its forward pass. Weights have one
// row a query, so that a softmax runs along memory: W here is W_l transposed.
template <class N>
struct AttentionTape {
  N* Z;  // r x tokens
  N* U;  // m x queries: Q Z
  N* W;  // queries x keys
  N* V;  // r x queries: Z M W_l
};

// F: floating type of the shares 1/n, N: numbers on lanes, S: one parameter, Sum: gradient
// sums. There is no code for the paper's d = 5: it takes more instructions than that for any
// d, as most products are as long as the context.
template <Form form, class F, class N, class S, class Sum>
class Attention {
 public:
  // Its memory is taken from `frame`, which has to outlive it.
  Attention(Activation activation, int dim, int context, int layers, const S* P, const S* Q,
            Frame& frame)
      : activation_(activation),
        share_(F{1} / static_cast<F>(context)),
        m(matrix_size(form, dim)),
        r(dim + 1),
        context_(context),
        tokens_(context + 1),
        keys_(keys_of(activation, context)),
        layers_(layers),
        P_(P),
        Q_(Q),
        tape_(frame.take<AttentionTape<N>>(layers)) {
    const auto take = [&](int count) { return frame.take<N>(count); };
    for (int l = 0; l < layers; ++l)
      tape_[l] = {take(r * tokens_), take(m * queries(l)), take(queries(l) * keys_),
                  take(r * queries(l))};
    prediction_ = take(r);
    Z_bar_ = take(r * tokens_);
    V_bar_ = take(r * tokens_);
    U_bar_ = take(m * tokens_);
    S_bar_ = take(tokens_ * keys_);
  }

  // The tokens of the first layer, r x (n + 1), to be filled in before `add`.
  N* tokens() { return tape_[0].Z; }

  // Adds the squared errors to `loss` and the gradient to `P_bar`, `Q_bar`.
  template <class T>
  void add(const T& target, N& loss, Sum* P_bar, Sum* Q_bar) {
    for (int l = 0; l < layers_; ++l)
      forward(l, tape_[l], l + 1 < layers_ ? tape_[l + 1].Z : prediction_);
    N residual = prediction_[r - 1];
    attnscape::add(residual, target);
    add_product(loss, residual, residual);
    for (int i = 0; i < r * tokens_; ++i) Z_bar_[i] = N{};
    Z_bar_[r * tokens_ - 1] = twice(residual);
    for (int l = layers_ - 1; l >= 0; --l)
      backward(l, tape_[l], P_bar + l * m * m, Q_bar + l * m * m);
  }

 private:
  int queries(int l) const { return l + 1 < layers_ ? tokens_ : 1; }

  // From Z to the tokens that the layer's queries become, r x queries.
  void forward(int l, const AttentionTape<N>& tape, N* next) const {
    const Size<0> count(queries(l)), keys(keys_), context(context_);
    const N* queried = tape.Z + tokens_ - count;
    product<false>(m, count, m, tape.U, count, plain(Q_ + l * m * m, m), plain(queried, tokens_));
    product<false>(count, keys, m, tape.W, keys, transposed(tape.U, count), plain(tape.Z, tokens_));
    for (int i = 0; i < count; ++i) activate(activation_, share_, tape.W + i * keys, keys);
    product<false>(r, count, context, tape.V, count, plain(tape.Z, tokens_),
                   transposed(tape.W, keys));
    for (int i = 0; i < r; ++i)
      for (int j = 0; j < count; ++j) next[i * count + j] = queried[i * tokens_ + j];
    product<true>(m, count, m, next, count, plain(P_ + l * m * m, m), plain(tape.V, count));
    for (int i = m * count; i < r * count; ++i) attnscape::add(next[i], tape.V[i]);
  }

  // From the adjoint of the layer's result, in the queries' columns of Z_bar, to the
  // adjoint of its tokens, in all of Z_bar.
  void backward(int l, const AttentionTape<N>& tape, Sum* P_bar, Sum* Q_bar) {
    const Size<0> count(queries(l)), keys(keys_), context(context_);
    const N* queried = tape.Z + tokens_ - count;
    N* queried_bar = Z_bar_ + tokens_ - count;
    product<true>(m, m, count, P_bar, m, plain(queried_bar, tokens_), transposed(tape.V, count));
    product<false>(m, count, m, V_bar_, count, transposed(P_ + l * m * m, m),
                   plain(queried_bar, tokens_));
    for (int i = m; i < r; ++i)
      for (int j = 0; j < count; ++j) V_bar_[i * count + j] = queried_bar[i * tokens_ + j];
    product<false>(count, context, r, S_bar_, keys, transposed(V_bar_, count),
                   plain(tape.Z, tokens_));
    for (int i = 0; i < count; ++i) {
      N* bar = S_bar_ + i * keys;
      if (keys_ > context_) bar[context_] = N{};
      activate_backward(activation_, share_, tape.W + i * keys, bar, keys);
    }
    product<false>(m, count, keys, U_bar_, count, plain(tape.Z, tokens_), transposed(S_bar_, keys));
    product<true>(m, m, count, Q_bar, m, plain(U_bar_, count), transposed(queried, tokens_));
    if (l == 0) return;
    product<true>(r, context, count, Z_bar_, tokens_, plain(V_bar_, count), plain(tape.W, keys));
    product<true>(m, keys, count, Z_bar_, tokens_, plain(tape.U, count), plain(S_bar_, keys));
    product<true>(m, count, m, queried_bar, tokens_, transposed(Q_ + l * m * m, m),
                  plain(U_bar_, count));
  }

  const Activation activation_;
  const F share_;
  const Size<0> m, r;
  const int context_, tokens_, keys_, layers_;
  const S* P_;
  const S* Q_;
  AttentionTape<N>* tape_;
  N *prediction_, *Z_bar_, *V_bar_, *U_bar_, *S_bar_;
};

}  // namespace attnscape
