// The dense Hessian of the reduced form: its rows by tangents along parameters.
//
// Rows of one layer are computed together, as tangents that share all values. The
// layers before theirs have no tangents, so these begin there; and by symmetry only
// the columns of that layer and of later ones are needed, so the way back ends there.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "moments.hpp"

namespace attnscape {

inline constexpr int kRowsTogether = 5;

// Rows of the Hessian: parameters of one layer.
struct Rows {
  int layer, count;
  int64_t parameter[kRowsTogether];
};

// Calls call(parameter) for those of one layer that reach the loss: of the last P
// at most the last row does.
template <class F, class Call>
void for_each_live(const Arguments<F>& arguments, int layer, const Call& call) {
  const int m = arguments.size;
  const int64_t P = static_cast<int64_t>(layer) * m * m, Q = arguments.block() + P;
  const int64_t last_row = arguments.form == Form::full ? P + m * m - m : P + m * m;
  for (int64_t i = layer + 1 < arguments.layers ? P : last_row; i < P + m * m; ++i) call(i);
  for (int64_t i = Q; i < Q + m * m; ++i) call(i);
}

template <class F>
std::vector<Rows> rows_together(const Arguments<F>& arguments) {
  std::vector<Rows> groups;
  for (int layer = 0; layer < arguments.layers; ++layer) {
    Rows rows{layer, 0, {}};
    for_each_live(arguments, layer, [&](int64_t parameter) {
      if (rows.count == kRowsTogether) {
        groups.push_back(rows);
        rows.count = 0;
      }
      rows.parameter[rows.count++] = parameter;
    });
    groups.push_back(rows);
  }
  return groups;
}

// Sums over the batch, for each parameter of the rows' layer and of later ones: its
// derivatives along the rows' parameters.
template <Form form, int M, class F>
void add_rows(const Arguments<F>& arguments, int64_t run, const Rows& rows, double* sums) {
  using V = Lanes<F>;
  using N = Dual<V, kRowsTogether>;
  using S = Dual<F, kRowsTogether>;
  using Sum = Tangents<V, kRowsTogether>;
  const int layers = arguments.layers, m = arguments.size;
  const int64_t parameters = arguments.parameters(), block = arguments.block();
  const F *P = arguments.P.at(run), *Q = arguments.Q.at(run);
  Frame frame;
  S* point = frame.take<S>(parameters);
  for (int64_t i = 0; i < parameters; ++i) point[i] = {{i < block ? P[i] : Q[i - block]}};
  for (int k = 0; k < rows.count; ++k) point[rows.parameter[k]].part[1 + k] = 1;
  ReducedForm<form, M, V, F, V, V> values(m, layers, P, Q, frame);
  ReducedForm<form, M, N, S, V, Sum> tangents(m, layers, point, point + block, frame);
  V* buffer = frame.take<V>(m * m + 2 * m);
  LaneMoments<V> moments;
  Sum* gradient = frame.take<Sum>(parameters);
  for (int chunk = 0; chunk < arguments.batch; chunk += kChunk) {
    std::fill_n(gradient, parameters, Sum{});
    N loss = {};
    for (int first = chunk; first < std::min(chunk + kChunk, arguments.batch); first += kLanes<F>) {
      load_moments(arguments, run, first, buffer, moments);
      values.forward(moments, 0, rows.layer);
      tangents.set_input(rows.layer, values.input(rows.layer));
      tangents.forward(moments, rows.layer, layers - 1);
      tangents.backward(moments, rows.layer, loss, gradient, gradient + block);
    }
    for (int layer = rows.layer; layer < layers; ++layer)
      for_each_live(arguments, layer, [&](int64_t i) {
        for (int k = 0; k < rows.count; ++k)
          sums[i * kRowsTogether + k] += sum_of_lanes<F>(gradient[i].part[k]);
      });
  }
}

// Whether the weights of a run are numbers; those of a diverged run are not.
template <class F>
bool finite(const Arguments<F>& arguments, int64_t run) {
  const auto all = [&](const F* weights) {
    return std::all_of(weights, weights + arguments.block(), [](F w) { return std::isfinite(w); });
  };
  return all(arguments.P.at(run)) && all(arguments.Q.at(run));
}

// Parameters that never reach the loss have rows and columns of exact zeros.
template <Form form, int M, class F>
void hessian(const ffi::ThreadPool& pool, const Arguments<F>& arguments, F* result) {
  const int64_t parameters = arguments.parameters();
  std::fill(result, result + arguments.count() * parameters * parameters, F{0});
  const std::vector<Rows> groups = rows_together(arguments);
  const auto group_count = static_cast<int64_t>(groups.size());
  parallel_for(pool, arguments.count() * group_count, [&](int64_t task) {
    const int64_t run = task / group_count;
    const Rows& rows = groups[task % group_count];
    Frame frame;
    double* sums = frame.zeros<double>(parameters * kRowsTogether);
    if (finite(arguments, run)) {
      add_rows<form, M>(arguments, run, rows, sums);
    } else {
      std::fill_n(sums, parameters * kRowsTogether, std::numeric_limits<double>::quiet_NaN());
    }
    F* matrix = result + run * parameters * parameters;
    for (int layer = rows.layer; layer < arguments.layers; ++layer)
      for_each_live(arguments, layer, [&](int64_t column) {
        for (int k = 0; k < rows.count; ++k) {
          const int64_t row = rows.parameter[k];
          const F entry = static_cast<F>(sums[column * kRowsTogether + k] / arguments.batch);
          matrix[row * parameters + column] = entry;
          // Within the rows' layer, the column's own row has this entry.
          if (layer > rows.layer) matrix[column * parameters + row] = entry;
        }
      });
  });
}

}  // namespace attnscape
