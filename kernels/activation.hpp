// What turns the scores of one query into attention weights, and back for
// adjoints. Nothing here knows which number type it works on; see numbers.hpp.
#pragma once

#include "functions.hpp"

namespace attnscape {

// The numbers are shared with ACTIVATIONS in models/attention.py. linear: the score;
// relu: its positive part; softmax: over all keys. All times 1/n.
enum class Activation { linear = 0, relu = 1, softmax = 2 };

// Softmax attends to the query's own token too, before the mask takes it out of the
// sum; in the others a masked token has no effect, and none of its scores is needed.
constexpr int keys_of(Activation activation, int context) {
  return activation == Activation::softmax ? context + 1 : context;
}

template <class N, class F>
inline void softmax(F share, N* row, int keys) {
  // Softmax does not change when all scores do, so the maximum needs no tangent.
  auto largest = Parts<N>::of(row[0], 0);
  for (int k = 1; k < keys; ++k) largest = maximum(largest, Parts<N>::of(row[k], 0));
  N sum = {};
  for (int k = 0; k < keys; ++k) {
    row[k] = exponential(minus(row[k], largest));
    add(sum, row[k]);
  }
  N factor = reciprocal(sum);
  multiply(factor, share);
  for (int k = 0; k < keys; ++k) row[k] = times(row[k], factor);
}

template <class N, class F>
inline void softmax_backward(F share, const N* weights, N* bar, int keys) {
  N mean = {};
  for (int k = 0; k < keys; ++k) add_product(mean, weights[k], bar[k]);
  multiply(mean, 1 / share);  // the weights sum to `share`
  for (int k = 0; k < keys; ++k) bar[k] = times(weights[k], minus(bar[k], mean));
}

// In place: scores of one query become weights. `share` is 1/n.
template <class N, class F>
inline void activate(Activation activation, F share, N* row, int keys) {
  if (activation == Activation::softmax) return softmax(share, row, keys);
  for (int k = 0; k < keys; ++k) {
    if (activation == Activation::relu) rectify(row[k], row[k]);
    multiply(row[k], share);
  }
}

// In place: adjoints of the weights become adjoints of the scores.
template <class N, class F>
inline void activate_backward(Activation activation, F share, const N* weights, N* bar, int keys) {
  if (activation == Activation::softmax) return softmax_backward(share, weights, bar, keys);
  for (int k = 0; k < keys; ++k) {
    if (activation == Activation::relu) rectify(bar[k], weights[k]);
    multiply(bar[k], share);
  }
}

}  // namespace attnscape
