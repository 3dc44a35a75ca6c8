// Loss and gradient of linear attention behind an MLP, for one group of lanes: the
// covariates of context and query pass through the MLP, the moments of what comes
// out go through the reduced form, and the moments' adjoints come back the same way.
//
//   f_i = MLP(x_i),  G = (1/n) sum f f^T,  c = (1/n) sum f y,  q = f_{n+1}
//   f_bar_i = (1/n) ((G_bar + G_bar^T) f_i + c_bar y_i),  f_bar_{n+1} = q_bar
//
// In the full form, G has one more row and column for the responses (f, y) and no c.
#pragma once

#include "mlp.hpp"
#include "reduced_form.hpp"

namespace attnscape {

template <class V>
struct LanePrompts {
  const V* x;  // (n + 1) x d, the query last
  const V* y;  // n
  V target;
  int valid;  // lanes that hold a prompt; the others are zero
};

struct MlpAttentionSizes {
  Form form;
  int layers, dim, hidden, context;

  int m() const { return matrix_size(form, dim); }
  int64_t block() const { return static_cast<int64_t>(layers) * m() * m(); }
  int64_t mlp() const { return static_cast<int64_t>(2 * dim + 1) * hidden + dim; }
  int64_t parameters() const { return 2 * block() + mlp(); }
};

// D: dim as in matrix.hpp. N: numbers on lanes, S: one parameter, V: tokens on
// lanes, Sum: gradient sums.
template <Form form, int D, class N, class S, class V, class Sum>
class MlpAttention {
 public:
  // `point` holds all P, all Q, then the MLP's weights. Memory is taken from `frame`,
  // which has to outlive this.
  MlpAttention(const MlpAttentionSizes& sizes, const S* point, Frame& frame)
      : sizes_(sizes),
        d_(sizes.dim),
        r_(sizes.dim + 1),
        m_(sizes.m()),
        n_(sizes.context),
        mlp_(sizes.dim, sizes.hidden, sizes.context + 1, point + 2 * sizes.block(), frame),
        Z_(frame.take<N>((n_ + 1) * r_)),
        gram_(frame.take<N>(m_ * m_)),
        cross_(frame.take<N>(m_)),
        adjoint_{frame.take<N>(m_ * m_), frame.take<N>(m_), nullptr},
        back_(frame.take<N>(d_ * r_)),
        features_bar_(frame.take<N>((n_ + 1) * d_ + 1)),
        reduced_(m_, sizes.layers, point, point + sizes.block(), frame) {
    // The query's adjoint is the last row; in the full form it has one entry more.
    adjoint_.query = features_bar_ + n_ * d_;
  }

  // Adds the squared errors to `loss` and the gradient to `gradient`, in the
  // order of the point.
  void add(const LanePrompts<V>& prompts, N& loss, Sum* gradient) {
    Sum* Q_bar = gradient + sizes_.block();
    Sum* weights_bar = Q_bar + sizes_.block();
    set_tokens(prompts);
    const N* query = Z_ + n_ * r_;
    product<false>(m_, m_, n_, gram_, m_, transposed(Z_, r_), plain(Z_, r_));
    mean(gram_, m_ * m_);
    if constexpr (form == Form::block) {
      product<false>(d_, Size<1>(1), n_, cross_, 1, transposed(Z_, r_), plain(Z_ + d_, r_));
      mean(cross_, d_);
    }
    N target = {};
    attnscape::add(target, prompts.target);
    reduced_.add({gram_, cross_, query, target}, loss, gradient, Q_bar, adjoint_);
    set_features_bar();
    mlp_.backward(prompts.x, features_bar_, weights_bar);
  }

 private:
  // Z: the features, with the responses (0 for the query) as last column.
  void set_tokens(const LanePrompts<V>& prompts) {
    mlp_.forward(prompts.x, Z_, r_);
    for (int t = 0; t <= n_; ++t) {
      N& response = Z_[t * r_ + d_] = N{};
      if (t < n_) attnscape::add(response, prompts.y[t]);
    }
    // The MLP's biases reach lanes without a prompt; with their tokens zero they
    // add nothing to the loss or a gradient.
    if (prompts.valid < kLanes<Element<N>>)
      for (int i = 0; i < (n_ + 1) * r_; ++i) keep_lanes(Z_[i], prompts.valid);
  }

  void set_features_bar() {
    for (int i = 0; i < d_; ++i)
      for (int j = 0; j < m_; ++j) {
        N& entry = back_[i * r_ + j] = adjoint_.gram[i * m_ + j];
        attnscape::add(entry, adjoint_.gram[j * m_ + i]);
      }
    if constexpr (form == Form::block)
      for (int i = 0; i < d_; ++i) back_[i * r_ + d_] = adjoint_.cross[i];
    mean(back_, d_ * r_);
    product<false>(n_, d_, r_, features_bar_, d_, plain(Z_, r_), transposed(back_, r_));
  }

  // From a sum over the context to its mean.
  void mean(N* sums, int count) {
    const Element<N> weight = Element<N>{1} / static_cast<Element<N>>(n_);
    for (int i = 0; i < count; ++i) multiply(sums[i], weight);
  }

  static constexpr int M = D > 0 ? matrix_size(form, D) : 0;
  const MlpAttentionSizes sizes_;
  const Size<D> d_;
  const Size<(D > 0 ? D + 1 : 0)> r_;  // d + 1: a token with its response
  const Size<M> m_;
  const Size<0> n_;
  Mlp<D, N, S, V, Sum> mlp_;
  N *Z_, *gram_, *cross_;
  MomentAdjoints<N> adjoint_;
  N* back_;  // what takes a token to its feature's adjoint: d x (d + 1)
  N* features_bar_;
  ReducedForm<form, M, N, S, N, Sum, true> reduced_;
};

}  // namespace attnscape
