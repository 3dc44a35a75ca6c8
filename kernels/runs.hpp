// Loss with gradient, and Hessian-vector products, of many runs whose weights are
// P and Q: what all kernels do around the formula of one group of lanes.
#pragma once

#include <algorithm>

#include "chunks.hpp"
#include "numbers.hpp"
#include "operand.hpp"

namespace attnscape {

// The weights of all runs, and how many prompts each run sees.
template <class F>
struct Runs {
  int layers, size, batch;  // size: rows of one P or Q
  LeadingAxes axes;
  Operand<F> P, Q;

  int64_t block() const { return static_cast<int64_t>(layers) * size * size; }
  int64_t parameters() const { return 2 * block(); }
  int64_t count() const { return axes.elements(); }
};

// Takes the layers from P and the batch from `batched`, whose last axis it is.
// `axes` must have joined all arguments.
template <class F>
Runs<F> runs_of(const LeadingAxes& axes, const Input<F>& P, const Input<F>& Q,
                const Input<F>& batched) {
  const auto dims = P.dimensions();
  const int layers = static_cast<int>(dims[dims.size() - 3]);
  const int size = static_cast<int>(dims.back());
  const int batch = static_cast<int>(batched.dimensions().back());
  return {layers, size, batch, axes, Operand<F>(axes, P, 3), Operand<F>(axes, Q, 3)};
}

// One number of each of the prompts from `first` on: number `number` of `run`
// in an array with the batch innermost.
template <class F>
Lanes<F> load_lanes(const Operand<F>& operand, int64_t run, int64_t number, int first, int batch) {
  const F* from = operand.at(run) + number * batch + first;
  const int valid = std::max(batch - first, 0);
  return valid >= kLanes<F> ? load<Lanes<F>>(from) : load_some<Lanes<F>>(from, valid);
}

// Adds to loss and gradient what the prompts give that over_parts names, at the parameters P, Q.
template <class S, class N, class Sum>
using AddPrompts = FunctionRef<void(int64_t run, const S* P, const S* Q, int first, int end,
                                    N& loss, Sum* gradient)>;

// Loss and gradient of every run.
template <class F>
void mean_gradient(const ffi::ThreadPool& pool, const Runs<F>& runs,
                   AddPrompts<F, Lanes<F>, Lanes<F>> add_prompts, F* loss, F* P_bar, F* Q_bar) {
  using V = Lanes<F>;
  const int64_t parameters = runs.parameters(), block = runs.block();
  const int64_t width = 1 + parameters;
  over_chunks(
      pool, runs.count(), runs.batch, width,
      [&](int64_t run, int first, int last, double* sums) {
        Frame frame;
        V* gradient = frame.zeros<V>(kParts * parameters);
        V error[kParts] = {};
        over_parts<F>(first, last, [&](int part, int start, int end) {
          add_prompts(run, runs.P.at(run), runs.Q.at(run), start, end, error[part],
                      gradient + part * parameters);
        });
        sums[0] = sum_of_lanes<F>(error, 1);
        sums_of_lanes<F>(gradient, parameters, parameters, sums + 1);
      },
      [&](int64_t run, const double* sums) {
        mean_of_sums(sums, 1, runs.batch, loss + run);
        mean_of_sums(sums + 1, block, runs.batch, P_bar + run * block);
        mean_of_sums(sums + 1 + block, block, runs.batch, Q_bar + run * block);
      });
}

// The Hessian of every run times its direction: the gradient's code on duals.
template <class F>
void mean_hvp(const ffi::ThreadPool& pool, const Runs<F>& runs, const Operand<F>& P_dot,
              const Operand<F>& Q_dot,
              AddPrompts<Dual<F>, Dual<Lanes<F>>, Tangent<Lanes<F>>> add_prompts, F* P_product,
              F* Q_product) {
  using V = Lanes<F>;
  const int64_t parameters = runs.parameters(), block = runs.block();
  over_chunks(
      pool, runs.count(), runs.batch, parameters,
      [&](int64_t run, int first, int last, double* sums) {
        Frame frame;
        Dual<F>* point = frame.take<Dual<F>>(parameters);
        for (int64_t i = 0; i < block; ++i) {
          point[i] = {{runs.P.at(run)[i], P_dot.at(run)[i]}};
          point[block + i] = {{runs.Q.at(run)[i], Q_dot.at(run)[i]}};
        }
        Tangent<V>* gradient = frame.zeros<Tangent<V>>(kParts * parameters);
        Dual<V> error = {};
        over_parts<F>(first, last, [&](int part, int start, int end) {
          add_prompts(run, point, point + block, start, end, error, gradient + part * parameters);
        });
        sums_of_lanes<F>(gradient->part, parameters, parameters, sums);
      },
      [&](int64_t run, const double* sums) {
        mean_of_sums(sums, block, runs.batch, P_product + run * block);
        mean_of_sums(sums + block, block, runs.batch, Q_product + run * block);
      });
}

}  // namespace attnscape
