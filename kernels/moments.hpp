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

// Reads the numbers of an array one after another, on the lanes that start at prompt `first`;
// `all` of them have a prompt.
template <bool all, class F>
class LaneReader {
 public:
  LaneReader(const Operand<F>& operand, int64_t run, int first, int batch)
      : next_(operand.at(run) + first), batch_(batch), valid_(std::max(batch - first, 0)) {}

  Lanes<F> operator()() {
    const F* from = next_;
    next_ += batch_;
    return all ? load<Lanes<F>>(from) : load_some<Lanes<F>>(from, valid_);
  }

 private:
  const F* next_;
  const int64_t batch_;
  const int valid_;
};

template <Form form, int M, bool all, class F>
LaneMoments<Lanes<F>> load_moments_of(const Arguments<F>& arguments, int64_t run, int first,
                                      Lanes<F>* buffer) {
  const Size<M> m(arguments.size);
  const int d = form == Form::full ? m - 1 : m;
  const auto reader = [&](const Operand<F>& operand) {
    return LaneReader<all, F>(operand, run, first, arguments.batch);
  };
  auto gram_of = reader(arguments.gram), cross_of = reader(arguments.cross);
  auto query_of = reader(arguments.query);
  Lanes<F>*gram = buffer, *cross = gram + m * m, *query = cross + m;
#pragma GCC unroll 6
  for (int i = 0; i < d; ++i) {
#pragma GCC unroll 6
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

// At the end of a batch, where no size needs code of its own.
template <Form form, class F>
[[gnu::noinline]] LaneMoments<Lanes<F>> load_last_moments(const Arguments<F>& arguments,
                                                          int64_t run, int first,
                                                          Lanes<F>* buffer) {
  return load_moments_of<form, 0, false>(arguments, run, first, buffer);
}

// The moments of the lanes that start at prompt `first`.
template <Form form, int M, class F>
LaneMoments<Lanes<F>> load_moments(const Arguments<F>& arguments, int64_t run, int first,
                                   Lanes<F>* buffer) {
  if (arguments.batch - first >= kLanes<F>)
    return load_moments_of<form, M, true>(arguments, run, first, buffer);
  return load_last_moments<form>(arguments, run, first, buffer);
}

}  // namespace attnscape
