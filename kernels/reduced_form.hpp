// Loss and gradient of linear attention from the moments of a prompt: the
// reduced form, forward and backward, for one group of lanes.
//
//   A_0 = I,  A_{l+1} = A_l + P_l K_l W_l,  K_l = A_l G A_l^T,  W_l = Q_l A_l
//   block:    s_0 = 0,  s_{l+1} = s_l + W_l^T A_l (c + G s_l),  TF = -s_L . q
//   full:     G with one more row and column for the responses, q with one
//             more entry 0,  TF = -[A_L q]_last
//
// The last layer needs no matrix product: only its action on a vector reaches
// the prediction. Adjoints carry the suffix `_bar`. Nothing here knows which
// number type it works on; see numbers.hpp.
#pragma once

#include "arena.hpp"
#include "form.hpp"
#include "matrix.hpp"

namespace attnscape {

template <class V>
struct LaneMoments {
  const V* gram;   // m x m
  const V* cross;  // m (block form only)
  const V* query;  // m
  V target;
};

// Derivatives of the squared error in the moments. Of `gram` only the symmetric part has a
// meaning, as the gram is symmetric.
template <class N>
struct MomentAdjoints {
  N* gram;   // m x m
  N* cross;  // m (block form only)
  N* query;  // m
};

// Everything one layer's backward pass needs from its forward pass.
template <class N>
struct LayerTape {
  N *A, *H, *K, *W, *S;  // m x m: A, A G, A G A^T, Q A, K W; of the first layer W is G Q
  N *s, *u, *a;          // m: s, c + G s, A u (block form only)
};

// N: numbers on lanes, S: one parameter, V: moments on lanes, Sum: gradient sums.
// `adjoints` says whether the moments' adjoints are wanted too; V is N then.
template <Form form, int M, class N, class S, class V, class Sum, bool adjoints = false>
class ReducedForm {
 public:
  // Its memory is taken from `frame`, which has to outlive it.
  ReducedForm(int size, int layers, const S* P, const S* Q, Frame& frame)
      : m(size),
        layers_(layers),
        P_(P),
        Q_(Q),
        tape_(frame.take<LayerTape<N>>(layers)),
        next_(frame.take<N>(numbers())) {
    for (int l = 0; l < layers; ++l) tape_[l] = new_tape();
    A_bar_ = matrix();
    s_bar_ = vector();
    temporary_ = next_;
  }

  // Adds the squared errors to `loss` and the gradient to `P_bar`, `Q_bar`; sets
  // `moments_bar` where adjoints are wanted.
  void add(const LaneMoments<V>& moments, N& loss, Sum* P_bar, Sum* Q_bar,
           const MomentAdjoints<N>& moments_bar = {}) {
    moments_bar_ = moments_bar;
    forward(moments);
    backward(moments, loss, P_bar, Q_bar);
  }

 private:
  // Up to the input of the last layer.
  void forward(const LaneMoments<V>& moments) {
    if (layers_ == 1) {
      set_identity(tape_[0].A);
      clear(tape_[0].s, m);
    }
    for (int l = 0; l < layers_ - 1; ++l) {
      if (l == 0) {
        forward_first(moments, tape_[0], tape_[1]);
      } else {
        forward_middle(moments, l, tape_[l], tape_[l + 1]);
      }
    }
  }

  // From the input of the last layer: the squared errors and the gradient.
  void backward(const LaneMoments<V>& moments, N& loss, Sum* P_bar, Sum* Q_bar) {
    next_ = temporary_;
    last(moments, tape_[layers_ - 1], loss, P_bar, Q_bar, A_bar_, s_bar_);
    for (int l = layers_ - 2; l >= 0; --l) {
      next_ = temporary_;
      if (l == 0) {
        backward_first(moments, tape_[0], P_bar, Q_bar, A_bar_, s_bar_);
      } else {
        backward_middle(moments, l, tape_[l], P_bar, Q_bar, A_bar_, s_bar_);
      }
    }
  }

  // A_0 = I: A_1 = I + P W with W = G Q, s_1 = Q^T c.
  void forward_first(const LaneMoments<V>& z, LayerTape<N>& tape, LayerTape<N>& next) {
    product<false>(m, tape.W, plain(z.gram, m), plain(Q_, m));
    product<false>(m, next.A, plain(P_, m), plain(tape.W, m));
    for (int i = 0; i < m; ++i) add_one(next.A[i * m + i]);
    if constexpr (form == Form::block) apply<false>(m, next.s, transposed(Q_, m), z.cross);
  }

  void backward_first(const LaneMoments<V>& z, const LayerTape<N>& tape, Sum* P_bar, Sum* Q_bar,
                      const N* A_bar, const N* s_bar) {
    product<true>(m, P_bar, plain(A_bar, m), transposed(tape.W, m));
    N* W_bar = matrix();
    product<false>(m, W_bar, transposed(P_, m), plain(A_bar, m));
    const auto gram_part = factors(plain(z.gram, m), plain(W_bar, m));
    if constexpr (form == Form::block) {
      products<true>(m, Q_bar, gram_part, outer(z.cross, s_bar));
    } else {
      products<true>(m, Q_bar, gram_part);
    }
    if constexpr (adjoints) {
      product<true>(m, moments_bar_.gram, plain(W_bar, m), transposed(Q_, m));
      if constexpr (form == Form::block) apply<true>(m, moments_bar_.cross, plain(Q_, m), s_bar);
    }
  }

  void forward_middle(const LaneMoments<V>& z, int l, LayerTape<N>& tape, LayerTape<N>& next) {
    const S* P = P_ + l * m * m;
    const S* Q = Q_ + l * m * m;
    product<false>(m, tape.H, plain(tape.A, m), plain(z.gram, m));
    product<false>(m, tape.K, plain(tape.H, m), transposed(tape.A, m));
    product<false>(m, tape.W, plain(Q, m), plain(tape.A, m));
    product<false>(m, tape.S, plain(tape.K, m), plain(tape.W, m));
    copy(next.A, tape.A, m * m);
    product<true>(m, next.A, plain(P, m), plain(tape.S, m));
    if constexpr (form == Form::block) {
      set_response(z, tape);
      apply<false>(m, tape.a, plain(tape.A, m), tape.u);
      copy(next.s, tape.s, m);
      apply<true>(m, next.s, transposed(tape.W, m), tape.a);
    }
  }

  void backward_middle(const LaneMoments<V>& z, int l, const LayerTape<N>& tape, Sum* P_bar,
                       Sum* Q_bar, N* A_bar, N* s_bar) {
    const S* P = P_ + l * m * m;
    const S* Q = Q_ + l * m * m;
    P_bar += l * m * m;
    Q_bar += l * m * m;
    N *S_bar = matrix(), *W_bar = matrix(), *K_bar = matrix();
    product<true>(m, P_bar, plain(A_bar, m), transposed(tape.S, m));
    product<false>(m, S_bar, transposed(P, m), plain(A_bar, m));
    product<false>(m, K_bar, plain(S_bar, m), transposed(tape.W, m));
    add_transposed(K_bar);  // both A of K = A G A^T
    const auto K_part = factors(plain(tape.K, m), plain(S_bar, m));
    if constexpr (form == Form::block) {
      products<false>(m, W_bar, K_part, outer(tape.a, s_bar));
    } else {
      products<false>(m, W_bar, K_part);
    }
    product<true>(m, Q_bar, plain(W_bar, m), transposed(tape.A, m));
    const auto W_part = factors(transposed(Q, m), plain(W_bar, m));
    const auto H_part = factors(plain(K_bar, m), plain(tape.H, m));
    if constexpr (form == Form::block) {
      N *a_bar = vector(), *u_bar = vector();
      apply<false>(m, a_bar, plain(tape.W, m), s_bar);
      products<true>(m, A_bar, W_part, H_part, outer(a_bar, tape.u));
      apply<false>(m, u_bar, transposed(tape.A, m), a_bar);
      apply<true>(m, s_bar, plain(z.gram, m), u_bar);
      if constexpr (adjoints) add_response_adjoint(tape, u_bar);
    } else {
      products<true>(m, A_bar, W_part, H_part);
    }
    if constexpr (adjoints) {
      N* KA = S_bar;  // S_bar has been used up
      product<false>(m, KA, plain(K_bar, m), plain(tape.A, m));
      for (int i = 0; i < m * m; ++i) multiply(KA[i], Element<N>{0.5});
      product<true>(m, moments_bar_.gram, transposed(tape.A, m), plain(KA, m));
    }
  }

  // Prediction, loss, and the adjoints of the last layer's input, where they are
  // wanted.
  void last(const LaneMoments<V>& z, LayerTape<N>& tape, N& loss, Sum* P_bar, Sum* Q_bar, N* A_bar,
            N* s_bar) {
    const int offset = (layers_ - 1) * m * m;
    const bool further = adjoints || layers_ > 1;
    if constexpr (form == Form::block) {
      last_block(z, further, tape, Q_ + offset, loss, Q_bar + offset, A_bar, s_bar);
    } else {
      last_full(z, further, tape, P_ + offset, Q_ + offset, loss, P_bar + offset, Q_bar + offset,
                A_bar);
    }
  }

  // -TF = q . s + (Q A q) . (A u)
  void last_block(const LaneMoments<V>& z, bool further, LayerTape<N>& tape, const S* Q, N& loss,
                  Sum* Q_bar, N* A_bar, N* s_bar) {
    N *a = tape.a, *b = vector(), *e = vector();
    set_response(z, tape);
    apply<false>(m, a, plain(tape.A, m), tape.u);
    apply<false>(m, b, plain(tape.A, m), z.query);
    apply<false>(m, e, plain(Q, m), b);
    N residual = {};
    attnscape::add(residual, z.target);
    add_dot(m, residual, tape.s, z.query);
    add_dot(m, residual, e, a);
    add_product(loss, residual, residual);

    const N delta = twice(residual);
    N *a_bar = vector(), *e_bar = vector(), *b_bar = vector(), *u_bar = vector();
    scale(a_bar, delta, e);
    scale(e_bar, delta, a);
    add_outer(m, Q_bar, e_bar, b);
    if (!further) return;
    apply<false>(m, b_bar, transposed(Q, m), e_bar);
    products<false>(m, A_bar, outer(a_bar, tape.u), outer(b_bar, z.query));
    apply<false>(m, u_bar, transposed(tape.A, m), a_bar);
    scale(s_bar, delta, z.query);
    apply<true>(m, s_bar, plain(z.gram, m), u_bar);
    if constexpr (adjoints) {
      clear(moments_bar_.gram, m * m);
      clear(moments_bar_.cross, m);
      add_response_adjoint(tape, u_bar);
      scale(moments_bar_.query, delta, tape.s);
      apply<true>(m, moments_bar_.query, transposed(tape.A, m), b_bar);
    }
  }

  // -TF = [A q]_last + P_last . (A G A^T Q A q)
  void last_full(const LaneMoments<V>& z, bool further, LayerTape<N>& tape, const S* P, const S* Q,
                 N& loss, Sum* P_bar, Sum* Q_bar, N* A_bar) {
    const S* P_last = P + (m - 1) * m;
    N *v = vector(), *e = vector(), *x = vector(), *g = vector(), *h = vector();
    apply<false>(m, v, plain(tape.A, m), z.query);
    apply<false>(m, e, plain(Q, m), v);
    apply<false>(m, x, transposed(tape.A, m), e);
    apply<false>(m, g, plain(z.gram, m), x);
    apply<false>(m, h, plain(tape.A, m), g);
    N residual = v[m - 1];
    attnscape::add(residual, z.target);
    add_dot(m, residual, P_last, h);
    add_product(loss, residual, residual);

    const N delta = twice(residual);
    N *h_bar = vector(), *g_bar = vector(), *x_bar = vector(), *e_bar = vector();
    N* v_bar = vector();
    for (int i = 0; i < m; ++i) {
      h_bar[i] = N{};
      add_product(h_bar[i], P_last[i], delta);
      add_product(P_bar[(m - 1) * m + i], delta, h[i]);
    }
    apply<false>(m, g_bar, transposed(tape.A, m), h_bar);
    apply<false>(m, x_bar, plain(z.gram, m), g_bar);
    apply<false>(m, e_bar, plain(tape.A, m), x_bar);
    add_outer(m, Q_bar, e_bar, v);
    if (!further) return;
    apply<false>(m, v_bar, transposed(Q, m), e_bar);
    attnscape::add(v_bar[m - 1], delta);
    products<false>(m, A_bar, outer(h_bar, g), outer(e, x_bar), outer(v_bar, z.query));
    if constexpr (adjoints) {
      products<false>(m, moments_bar_.gram, outer(g_bar, x));
      apply<false>(m, moments_bar_.query, transposed(tape.A, m), v_bar);
    }
  }

  // u = c + G s
  void set_response(const LaneMoments<V>& z, LayerTape<N>& tape) {
    set_values(m, tape.u, z.cross);
    apply<true>(m, tape.u, plain(z.gram, m), tape.s);
  }

  void add_response_adjoint(const LayerTape<N>& tape, const N* u_bar) {
    for (int i = 0; i < m; ++i) attnscape::add(moments_bar_.cross[i], u_bar[i]);
    add_outer(m, moments_bar_.gram, u_bar, tape.s);
  }

  template <class X>
  void scale(N* y, const N& factor, const X* x) {
    for (int i = 0; i < m; ++i) {
      y[i] = N{};
      add_product(y[i], factor, x[i]);
    }
  }

  void set_identity(N* A) {
    clear(A, m * m);
    for (int i = 0; i < m; ++i) add_one(A[i * m + i]);
  }

  // X += X^T
  void add_transposed(N* X) {
    for (int i = 0; i < m; ++i) {
      for (int j = 0; j < i; ++j) {
        attnscape::add(X[i * m + j], X[j * m + i]);
        X[j * m + i] = X[i * m + j];
      }
      attnscape::add(X[i * m + i], X[i * m + i]);
    }
  }

  static void clear(N* x, int count) {
    for (int i = 0; i < count; ++i) x[i] = N{};
  }

  static void copy(N* to, const N* from, int count) {
    for (int i = 0; i < count; ++i) to[i] = from[i];
  }

  // All that the functions below take. They take from one array of numbers, because
  // compilers then know that neighbours do not overlap. Beside tapes, A_bar and s_bar,
  // one layer's backward pass takes three matrices and a vector, or ten vectors.
  int64_t numbers() const {
    return static_cast<int64_t>(layers_) * (5 * m * m + 3 * m) + 4 * m * m + 10 * m;
  }
  N* take(int count) {
    N* taken = next_;
    next_ += count;
    return taken;
  }
  N* matrix() { return take(m * m); }
  N* vector() { return take(m); }
  LayerTape<N> new_tape() {
    LayerTape<N> tape;
    for (N** of : {&tape.A, &tape.H, &tape.K, &tape.W, &tape.S}) *of = matrix();
    for (N** of : {&tape.s, &tape.u, &tape.a}) *of = vector();
    return tape;
  }

  const Size<M> m;
  const int layers_;
  const S* P_;
  const S* Q_;
  LayerTape<N>* tape_;
  MomentAdjoints<N> moments_bar_ = {};
  N *A_bar_, *s_bar_;
  N* next_;
  N* temporary_;
};

}  // namespace attnscape
