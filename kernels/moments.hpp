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

// Reads the numbers of an array one after another, on the lanes that start at prompt `first`.
template <class F>
class LaneReader {
 public:
  LaneReader(const Operand<F>& operand, int64_t run, int first, int batch)
      : next_(operand.at(run) + first), batch_(batch), valid_(std::max(batch - first, 0)) {}

  Lanes<F> operator()() {
    const F* from = next_;
    next_ += batch_;
    return valid_ >= kLanes<F> ? load<Lanes<F>>(from) : load_some<Lanes<F>>(from, valid_);
  }

 private:
  const F* next_;
  const int64_t batch_;
  const int valid_;
};

// The moments of the lanes that start at prompt `first`.
template <Form form, int M, class F>
LaneMoments<Lanes<F>> load_moments(const Arguments<F>& arguments, int64_t run, int first,
                                   Lanes<F>* buffer) {
  const Size<M> m(arguments.size);
  const int d = form == Form::full ? m - 1 : m;
  const auto reader = [&](const Operand<F>& operand) {
    return LaneReader<F>(operand, run, first, arguments.batch);
  };
  auto gram_of = reader(arguments.gram), cross_of = reader(arguments.cross);
  auto query_of = reader(arguments.query);
  Lanes<F>*gram = buffer, *cross = gram + m * m, *query = cross + m;
  for (int i = 0; i < d; ++i) {
    for (int j = 0; j < d; ++j) gram[i * m + j] = gram_of();
    cross[i] = cross_of();
    query[i] = query_of();
  }
  if constexpr (form == Form::full) {
    for (int i = 0; i < d; ++i) gram[i * m + d] = gram[d * m + i] = cross[i];
    gram[d * m + d] = reader(arguments.square)();
    query[d] = Lanes<F>{};
  }
  return {gram, cross, query, reader(arguments.target)()};
}

}  // namespace attnscape
