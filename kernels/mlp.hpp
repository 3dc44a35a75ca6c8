// A network Linear, ReLU, Linear on all tokens of one group of lanes, forward and
// backward. Nothing here knows which number type it works on; see numbers.hpp.
#pragma once

#include "arena.hpp"
#include "matrix.hpp"

namespace attnscape {

// Weights, or sums of their gradients, of Linear(dim, hidden), Linear(hidden, dim).
template <class S>
struct MlpWeights {
  S *W1, *b1, *W2, *b2;  // hidden x dim, hidden, dim x hidden, dim

  // The weights that lie one after another from `first` on.
  MlpWeights(S* first, int dim, int hidden)
      : W1(first), b1(W1 + hidden * dim), W2(b1 + hidden), b2(W2 + dim * hidden) {}
};

// D: dim as in matrix.hpp. N: numbers on lanes, S: one weight, V: tokens on
// lanes, Sum: gradient sums.
template <int D, class N, class S, class V, class Sum>
class Mlp {
 public:
  // Its memory is taken from `frame`, which has to outlive it.
  Mlp(int dim, int hidden, int tokens, const S* weights, Frame& frame)
      : d_(dim),
        h_(hidden),
        tokens_(tokens),
        weights_(weights, dim, hidden),
        units_(frame.take<N>(tokens * hidden)),
        units_bar_(frame.take<N>(tokens * hidden)) {}

  // Maps x (tokens x dim) to features, whose rows are `stride` apart.
  void forward(const V* x, N* features, int stride) {
    set_rows(units_, h_, weights_.b1, h_);
    product<true>(tokens_, h_, d_, units_, h_, plain(x, d_), transposed(weights_.W1, d_));
    for (int i = 0; i < tokens_ * h_; ++i) rectify(units_[i], units_[i]);
    set_rows(features, stride, weights_.b2, d_);
    product<true>(tokens_, d_, h_, features, stride, plain(units_, h_),
                  transposed(weights_.W2, h_));
  }

  // Adds to the weights' gradient, given the adjoint of the features (tokens x
  // dim) that the last `forward` made of the same x.
  void backward(const V* x, const N* features_bar, Sum* weights_bar) {
    const MlpWeights<Sum> bar(weights_bar, d_, h_);
    product<true>(d_, h_, tokens_, bar.W2, h_, transposed(features_bar, d_), plain(units_, h_));
    add_rows(bar.b2, features_bar, d_);
    product<false>(tokens_, h_, d_, units_bar_, h_, plain(features_bar, d_),
                   plain(weights_.W2, h_));
    for (int i = 0; i < tokens_ * h_; ++i) rectify(units_bar_[i], units_[i]);
    product<true>(h_, d_, tokens_, bar.W1, d_, transposed(units_bar_, h_), plain(x, d_));
    add_rows(bar.b1, units_bar_, h_);
  }

 private:
  void set_rows(N* rows, int stride, const S* bias, int count) {
    for (int t = 0; t < tokens_; ++t) set_values(count, rows + t * stride, bias);
  }

  void add_rows(Sum* bias_bar, const N* rows, int count) {
    for (int t = 0; t < tokens_; ++t)
      for (int i = 0; i < count; ++i) add_wanted(bias_bar[i], rows[t * count + i]);
  }

  const Size<D> d_;
  const Size<0> h_, tokens_;
  const MlpWeights<const S> weights_;
  N *units_, *units_bar_;  // tokens x hidden, after the ReLU
};

}  // namespace attnscape
