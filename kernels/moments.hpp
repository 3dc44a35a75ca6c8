// What the kernels of the reduced form are given: the weights of all runs, and the
// moments of their prompts.
#pragma once

#include <algorithm>

#include "reduced_form.hpp"
#include "runs.hpp"

namespace attnscape {

template <class F>
struct Arguments : Runs<F> {
  Form form;
  int dim;
  Operand<F> gram, cross, square, query, target;
};

// The moments of the lanes that start at prompt `first`.
template <class F>
void load_moments(const Arguments<F>& arguments, int64_t run, int first, Lanes<F>* buffer,
                  LaneMoments<Lanes<F>>& moments) {
  using V = Lanes<F>;
  const int d = arguments.dim, m = arguments.size;
  const int64_t batch = arguments.batch;
  const int valid = std::max(arguments.batch - first, 0);
  const auto lanes = [&](const F* array, int number) {
    const F* from = array + number * batch + first;
    return valid >= kLanes<F> ? load<V>(from) : load_some<V>(from, valid);
  };
  const F *grams = arguments.gram.at(run), *crosses = arguments.cross.at(run);
  const F* queries = arguments.query.at(run);
  V* gram = buffer;
  V* cross = gram + m * m;
  V* query = cross + d;
  for (int i = 0; i < d; ++i) {
    for (int j = 0; j < d; ++j) gram[i * m + j] = lanes(grams, i * d + j);
    cross[i] = lanes(crosses, i);
    query[i] = lanes(queries, i);
  }
  if (arguments.form == Form::full) {
    for (int i = 0; i < d; ++i) gram[i * m + d] = gram[d * m + i] = cross[i];
    gram[d * m + d] = lanes(arguments.square.at(run), 0);
    query[d] = V{};
  }
  moments = {gram, cross, query, lanes(arguments.target.at(run), 0)};
}

}  // namespace attnscape
