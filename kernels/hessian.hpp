// The dense Hessian of the reduced form, from the last layer to the first.
//
// With the prediction f and the residual r = f + target of a prompt, its squared error
// has the second derivatives 2 (J J^T + r f''), where J are the first derivatives of f.
// For r f'', layer l with parameters a maps the moments x (token_layer.hpp) to x'. Let
// M' be r times the second derivatives of f in x', as the layers after l make them:
//
//   along every direction of (a, x):  the change of r times the adjoints of x', which
//       is M' times the Jacobian of x' in (a, x); pulled back through the layer, and with
//       the layer's own second derivatives (layer_curvature.hpp), it becomes that of
//       the adjoints of a and x, that is, a row of the second derivatives in (a, x)
//   in a:        entries of the Hessian
//   in x:        M for the layer before
//   in a and x:  for each parameter of this layer, the change of the adjoints of x along
//       it; pulled back through the layers before, it meets their parameters.
//
// Rows of all parameters so reach the columns of the layers up to their own.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "arena.hpp"
#include "layer_curvature.hpp"
#include "moments.hpp"

namespace attnscape {

// Where sums over prompts lie: a row for each parameter, layer by layer, P before Q.
// Columns lie in the same order, those of one layer filled up to whole segments of lanes.
struct HessianLayout {
  static constexpr int kFilled = 8;  // a multiple of every kSegment

  int layers, of_layer, columns;  // of_layer: parameters, columns: as many, filled up

  HessianLayout(int m, int layer_count) : layers(layer_count), of_layer(2 * m * m) {
    columns = (of_layer + kFilled - 1) / kFilled * kFilled;
  }
  int64_t row(int layer, int parameter) const {
    return static_cast<int64_t>(layer) * of_layer + parameter;
  }
  int64_t row_numbers() const { return static_cast<int64_t>(layers) * columns; }
  int64_t numbers() const { return row(layers, 0) * row_numbers(); }
};

// Of the last layer's P at most the last row reaches the loss: its first parameter that does.
inline int first_live(Form form, int m, int layers, int layer) {
  if (layer + 1 < layers) return 0;
  return form == Form::full ? m * m - m : m * m;
}

// Adds up J J^T + r f'' of the prompts of one run, a group of lanes at a time.
template <Form form, int M, class F>
class HessianSums {
  using V = Lanes<F>;
  using Layer = TokenLayer<form, M, F>;
  static constexpr bool block = form == Form::block;

 public:
  HessianSums(int size, int layer_count, const F* P, const F* Q, double* sums, Frame& frame)
      : m(size),
        layers(layer_count),
        state(state_numbers(form, size)),
        layout(size, layer_count),
        sums_(sums),
        next_(frame.take<V>(room())),
        adjoint(size, take(LayerAdjoint<form, M, F>::room(size))),
        curvature(size, adjoint, take(LayerCurvature<form, M, F>::room(size))) {
    for (int l = 0; l < layers; ++l)
      layer_.emplace_back(size, P + l * m * m, Q + l * m * m, take(Layer::room(size)));
    gradient_ = take(layout.row_numbers());
    adjoints_ = take((layers + 1) * state);
    pulled_ = take(state * width());
    row_ = take(width() + layout.kFilled);
    M_ = take(state * state);
    ends_ = take(2 * m * width());
    changes_ = take(layout.row(layers, 0) * state);
    // What fills registers up is never set.
    std::fill(gradient_, gradient_ + layout.row_numbers(), V{});
  }

  void add(const LaneMoments<V>& moments) {
    const V residual = moments.target + forward(moments);
    set_gradient();
    for (int i = 0; i < (layers + 1) * state; ++i) adjoints_[i] *= residual;
    for (at = layers - 1; at >= 0; --at) {
      if (block && at + 1 == layers) {
        add_last(residual);
        continue;
      }
      gram = at + 1 < layers && (!block || at + 2 < layers);
      curvature.set(layer_[at], adjoints_ + (at + 1) * state, residual, row_);
      add_later_rows();
      if (at + 1 < layers) pull_second_derivatives();
      add_own_rows();
      if (at > 0) set_second_derivatives();
    }
  }

 private:
  int width() const { return layout.of_layer + state; }  // derivatives in (a, x)
  int64_t room() const {
    return LayerAdjoint<form, M, F>::room(m) + LayerCurvature<form, M, F>::room(m) +
           layers * Layer::room(m) + layout.row_numbers() + (layers + 1) * state +
           (state + 1 + 2 * m) * width() + layout.kFilled + state * state +
           layout.row(layers, 0) * state;
  }
  V* take(int64_t count) { return (next_ += count) - count; }

  // The prediction, and the values of all layers.
  V forward(LaneMoments<V> moments) {
    V prediction = {};
    for (Layer& layer : layer_) {
      layer.forward(moments);
      if constexpr (block) add_dot(m, prediction, layer.Qc(), moments.query);
      moments = layer.next();
    }
    if constexpr (!block) prediction = moments.query[m - 1];
    return prediction;
  }

  // J, and the adjoints of each layer's input for a prediction whose adjoint is 1.
  void set_gradient() {
    V* output = adjoints_ + layers * state;
    std::fill(output, output + state, V{});
    if constexpr (!block) add_one(output[state - 1]);
    for (int l = layers - 1; l >= 0; --l) {
      const Layer& layer = layer_[l];
      adjoint.enter(layer, adjoints_ + (l + 1) * state, 1, true);
      adjoint.template leave<true>(layer, true, row_);
      if constexpr (block) {
        V *q_bar = row_ + layout.of_layer + packed_numbers(m), *c_bar = q_bar + m;
        add_outer(m, row_ + m * m, layer.c, layer.q);
        apply<true>(m, c_bar, plain(layer.Q, m), layer.q);
        for (int i = 0; i < m; ++i) q_bar[i] += layer.Qc()[i];
      }
      std::copy(row_, row_ + layout.of_layer, gradient_ + l * layout.columns);
      std::copy(row_ + layout.of_layer, row_ + width(), adjoints_ + l * state);
    }
  }

  // In block form the last layer only adds c^T Q q to the prediction. So along entry
  // (i, j) of its Q the adjoint of c_i changes by q_j and that of q_j by c_i: as combinations
  // of 2 m changes, of one entry of q or c each.
  void add_last(const V& residual) {
    for (int i = 0; i < 2 * m; ++i) {
      V* change = end(i) + layout.of_layer + packed_numbers(m);  // G has none
      std::fill(change, change + 2 * m, V{});
      change[i] = residual;
    }
    std::fill(row_, row_ + layout.of_layer, V{});
    for (int k = m * m; k < 2 * m * m; ++k) add_row(at, k, row_);
  }

  // The row of the change of one entry of the last layer's q or, from m on, c.
  V* end(int i) const { return ends_ + i * width(); }

  void add_rows_of_ends() {
    const Layer& last = layer_[layers - 1];
    for (int i = 0; i < 2 * m; ++i) {
      adjoint.enter(layer_[at], end(i) + layout.of_layer, 1, gram);
      leave(end(i));
    }
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < m; ++j) {
        const V *of_c = end(m + i), *of_q = end(j);
        for (int k = 0; k < layout.of_layer; ++k)
          row_[k] = last.q[j] * of_c[k] + last.c[i] * of_q[k];
        add_row(layers - 1, m * m + i * m + j, row_);
      }
  }

  // Each row of M' pulled back: M' times the Jacobian of this layer.
  void pull_second_derivatives() {
    if (!gram) return pull_second_derivatives_of_ends();
    for (int k = 0; k < state; ++k) {
      adjoint.enter(layer_[at], M_ + k * state, 1, true);
      leave(pulled_ + k * width());
    }
  }

  // In block form, where M' only joins the last layer's c and q, by its Q.
  void pull_second_derivatives_of_ends() {
    V* of_q = pulled_ + packed_numbers(m) * width();
    const F* Q_last = layer_[layers - 1].Q;
    const Size<0> columns(width());
    product<false>(m, columns, m, of_q, width(), transposed(Q_last, m),
                   plain(static_cast<const V*>(end(m)), width()));
    product<false>(m, columns, m, of_q + m * width(), width(), plain(Q_last, m),
                   plain(static_cast<const V*>(end(0)), width()));
  }

  void leave(V* row) {
    if (at > 0) {
      adjoint.template leave<true>(layer_[at], gram, row);
    } else {
      adjoint.template leave<false>(layer_[at], gram, row);
    }
  }

  // The change of the output's adjoints along direction k of (a, x).
  void enter(int k) {
    static const V zero = {};
    if (at + 1 < layers) {
      adjoint.enter(layer_[at], pulled_ + k, width(), gram);
    } else {
      adjoint.enter(layer_[at], &zero, 0, false);
    }
  }

  // Rows of this layer's parameters.
  void add_own_rows() {
    for (int k = first_live(form, m, layers, at); k < layout.of_layer; ++k) {
      const bool in_P = k < m * m;
      const int i = (in_P ? k : k - m * m) / m, j = k % m;
      enter(k);
      if (in_P) {
        curvature.enter_P(i, j);
      } else {
        curvature.enter_Q(i, j);
      }
      if (in_P) {
        adjoint.template leave<false>(layer_[at], gram, row_);
        curvature.leave_P(i, j, row_);
      } else {
        adjoint.template leave<false, false>(layer_[at], gram, row_);
      }
      add_row(at, k, row_, k);
    }
  }

  // Columns of this layer in the rows of later layers' parameters.
  void add_later_rows() {
    if constexpr (block) add_rows_of_ends();
    for (int l = at + 1; l < (block ? layers - 1 : layers); ++l)
      for (int k = first_live(form, m, layers, l); k < layout.of_layer; ++k) {
        V* change = changes_ + layout.row(l, k) * state;
        adjoint.enter(layer_[at], change, 1, gram);
        leave(row_);
        std::copy(row_ + layout.of_layer, row_ + width(), change);
        add_row(l, k, row_);
      }
  }

  // M for the layer before, and the changes along this layer's parameters.
  void set_second_derivatives() {
    int k = layout.of_layer;
    for (int i = 0; i < m; ++i)
      for (int j = 0; j <= i; ++j) {
        enter(k);
        const F weight = i == j ? F{1} : F{0.5};
        curvature.enter_G(i, j, weight);
        if (i != j) curvature.enter_G(j, i, weight);
        leave(row_);
        curvature.leave_G(i, j, weight, row_);
        if (i != j) curvature.leave_G(j, i, weight, row_);
        keep(k++);
      }
    for (int i = 0; i < m; ++i) {
      enter(k);
      curvature.enter_q(i);
      leave(row_);
      curvature.leave_q(i, row_);
      keep(k++);
    }
    if constexpr (block)
      for (int i = 0; i < m; ++i) {
        enter(k);
        curvature.enter_c(i);
        leave(row_);
        curvature.leave_c(i, row_);
        keep(k++);
      }
  }

  // Keeps the row of direction k, one of x.
  void keep(int k) {
    const int x = k - layout.of_layer;
    std::copy(row_ + layout.of_layer, row_ + width(), M_ + x * state);
    V* changes = changes_ + layout.row(at, 0) * state + x;
    for (int a = 0; a < layout.of_layer; ++a) changes[a * state] = row_[a];
  }

  // Adds r f'' and J J^T in the row of one parameter, at this layer's columns; in the
  // layer's own rows those from the diagonal on will do.
  void add_row(int layer, int parameter, const V* row, int first = 0) {
    constexpr int count = kSegment<F>;
    const V factor = gradient_[layer * layout.columns + parameter];
    const V* gradient = gradient_ + at * layout.columns;
    double* sums = sums_ + layout.row(layer, parameter) * layout.row_numbers();
    for (int k = first / count * count; k < layout.of_layer; k += count) {
      V entries[count];
      for (int i = 0; i < count; ++i) entries[i] = row[k + i] + factor * gradient[k + i];
      add_sums_of_lanes<F>(entries, sums + at * layout.columns + k);
    }
  }

  const Size<M> m;
  const int layers, state;
  const HessianLayout layout;
  double* const sums_;
  V* next_;
  LayerAdjoint<form, M, F> adjoint;
  LayerCurvature<form, M, F> curvature;
  std::vector<Layer> layer_;
  V *gradient_, *adjoints_;  // J; the adjoints of each layer's input, and of the last one's output
  V *M_, *pulled_;           // M', and M' times the Jacobian of this layer
  V* ends_;                  // rows of changes of the last layer's q and c (block form)
  V* row_;                   // derivatives in (a, x)
  V* changes_;               // of the adjoints of x, along each parameter of later layers
  int at = 0;                // the layer
  bool gram = true;          // whether adjoints of G' change
};

// Whether the weights of a run are numbers; those of a diverged run are not.
template <class F>
bool finite(const Arguments<F>& arguments, int64_t run) {
  const auto all = [&](const F* weights) {
    return std::all_of(weights, weights + arguments.block(), [](F w) { return std::isfinite(w); });
  };
  return all(arguments.P.at(run)) && all(arguments.Q.at(run));
}

// Sums over the prompts [first, last) of one run.
template <Form form, int M, class F>
void add_to_hessian(const Arguments<F>& arguments, int64_t run, int first, int last, double* sums) {
  using V = Lanes<F>;
  const int m = arguments.size;
  Frame frame;
  HessianSums<form, M, F> hessian(m, arguments.layers, arguments.P.at(run), arguments.Q.at(run),
                                  sums, frame);
  V* buffer = frame.take<V>(m * m + 2 * m);
  for (int prompt = first; prompt < end_of_lanes<F>(last); prompt += kLanes<F>) {
    const auto moments = load_moments<form, M>(arguments, run, prompt, buffer);
    hessian.add(moments);
  }
}

// The mean's Hessian from the sums of `pieces` parts of the batch.
template <class F>
void finish_hessian(const Arguments<F>& arguments, const double* sums, int64_t pieces, F* matrix) {
  const int m = arguments.size, layers = arguments.layers;
  const HessianLayout layout(m, layers);
  const int64_t parameters = arguments.parameters(), stride = layout.numbers();
  const auto index = [&](int64_t layer, int k) {
    return k < m * m ? layer * m * m + k : arguments.block() + (layer - 1) * m * m + k;
  };
  for (int l = 0; l < layers; ++l)
    for (int k = first_live(arguments.form, m, layers, l); k < layout.of_layer; ++k)
      for (int of = 0; of <= l; ++of)
        for (int j = of == l ? k : 0; j < layout.of_layer; ++j) {
          const int64_t at = layout.row(l, k) * layout.row_numbers() + of * layout.columns + j;
          double sum = 0;
          for (int64_t piece = 0; piece < pieces; ++piece) sum += sums[piece * stride + at];
          const int64_t row = index(l, k), column = index(of, j);
          matrix[row * parameters + column] = matrix[column * parameters + row] =
              static_cast<F>(2 * sum / arguments.batch);
        }
}

// Parts of a batch that are summed by themselves: fixed, so that results do not depend on
// the number of threads.
inline constexpr int64_t kHessianPieces = 8;
// Numbers in the sums of the runs that are worked on together.
inline constexpr int64_t kHessianNumbers = int64_t{1} << 22;

// `add_prompts` adds up the prompts [first, last) of one run. Parameters that never reach the loss
// have rows and columns of exact zeros.
template <class F>
void hessian(const ffi::ThreadPool& pool, const Arguments<F>& arguments,
             FunctionRef<void(int64_t run, int first, int last, double* sums)> add_prompts,
             F* result) {
  const int64_t runs = arguments.count(), chunks = chunk_count(arguments.batch);
  const int64_t entries = arguments.parameters() * arguments.parameters();
  const int64_t pieces = std::min(chunks, kHessianPieces);
  const int64_t numbers = HessianLayout(arguments.size, arguments.layers).numbers();
  const int64_t together = std::max<int64_t>(kHessianNumbers / (pieces * numbers), 1);
  std::fill(result, result + runs * entries, F{0});
  Frame frame;
  double* all_sums = frame.take<double>(std::min(together, runs) * pieces * numbers);
  for (int64_t first = 0; first < runs; first += together) {
    const int64_t count = std::min(together, runs - first);
    parallel_for(pool, count * pieces, [&](int64_t task) {
      const int64_t run = first + task / pieces, piece = task % pieces;
      double* sums = all_sums + task * numbers;
      if (!finite(arguments, run)) {
        std::fill(sums, sums + numbers, std::numeric_limits<double>::quiet_NaN());
        return;
      }
      std::fill(sums, sums + numbers, 0.0);
      const auto prompt = [&](int64_t of) {
        return static_cast<int>(std::min<int64_t>(of * chunks / pieces * kChunk, arguments.batch));
      };
      add_prompts(run, prompt(piece), prompt(piece + 1), sums);
    });
    parallel_for(pool, count, [&](int64_t run) {
      finish_hessian(arguments, all_sums + run * pieces * numbers, pieces,
                     result + (first + run) * entries);
    });
  }
}

}  // namespace attnscape
