// XLA FFI handlers of linear attention behind an MLP in floating type F: loss with
// gradient, and Hessian-vector product. Arguments are the weights (P, Q, W1, b1, W2, b2), for the
// product a direction of the same shapes, then the prompts (x, y, query, target)
// with the batch innermost. Arrays come as jax.vmap leaves them.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "chunks.hpp"
#include "handlers.hpp"
#include "mlp_attention.hpp"
#include "operand.hpp"

namespace attnscape {

template <class F>
using Inputs = std::vector<Input<F>>;

// Axes of one element of each array.
inline constexpr int kWeightAxes[] = {3, 3, 2, 1, 2, 1};
inline constexpr int kPromptAxes[] = {3, 2, 2, 1};

template <class F>
using Operands = std::vector<Operand<F>>;

template <class F>
struct MlpAttentionArguments {
  MlpAttentionSizes sizes;
  int batch;
  LeadingAxes axes;
  Operands<F> weights, direction, prompts;  // no direction for the gradient

  int64_t runs() const { return axes.elements(); }
};

// Reads the sizes off the shapes; that they fit together, Python has checked.
template <class F>
MlpAttentionArguments<F> gather_mlp_attention(int32_t form, const Inputs<F>& weights,
                                              const Inputs<F>& direction,
                                              const Inputs<F>& prompts) {
  LeadingAxes axes;
  const auto join = [&](const Inputs<F>& inputs, const int* trailing) {
    for (const Input<F>& input : inputs) axes.join(input, *trailing++);
  };
  const auto operands = [&](const Inputs<F>& inputs, const int* trailing) {
    Operands<F> result;
    for (const Input<F>& input : inputs) result.emplace_back(axes, input, *trailing++);
    return result;
  };
  join(weights, kWeightAxes);
  join(direction, kWeightAxes);
  join(prompts, kPromptAxes);
  const auto last = [](const Input<F>& input, int axis) {
    return static_cast<int>(input.dimensions().end()[-axis]);
  };
  const MlpAttentionSizes sizes{static_cast<Form>(form), last(weights[0], 3), last(prompts[0], 2),
                                last(weights[3], 1), last(prompts[0], 3)};
  return {sizes,
          last(prompts[0], 1),
          axes,
          operands(weights, kWeightAxes),
          operands(direction, kWeightAxes),
          operands(prompts, kPromptAxes)};
}

// Copies arrays of `run`, one after another, to part `part` of the numbers in `point`.
template <class F, class S>
void copy_arrays(const Operands<F>& arrays, int64_t run, int part, S* point) {
  for (const Operand<F>& array : arrays)
    for (int64_t i = 0; i < array.size(); ++i) Parts<S>::of(*point++, part) = array.at(run)[i];
}

// Loads the prompts of the lanes that start at prompt `first`.
template <class F>
LanePrompts<Lanes<F>> load_prompts(const MlpAttentionArguments<F>& arguments, int64_t run,
                                   int first, Lanes<F>* buffer) {
  using V = Lanes<F>;
  const int batch = arguments.batch;
  const int valid = std::max(std::min(kLanes<F>, batch - first), 0);
  const auto copy = [&](int operand, V* to) {
    const F* from = arguments.prompts[operand].at(run) + first;
    const int64_t count = arguments.prompts[operand].size() / batch;
    for (int64_t i = 0; i < count; ++i)
      to[i] =
          valid == kLanes<F> ? load<V>(from + i * batch) : load_some<V>(from + i * batch, valid);
    return to + count;
  };
  V target;
  V* query = copy(0, buffer);
  V* y = copy(2, query);
  copy(1, y);
  copy(3, &target);
  return {buffer, y, target, valid};
}

// Writes the sums over prompts [first, last) of one run: the loss, then the
// gradient (N plain) or the Hessian times the direction (N dual).
template <Form form, int D, class F, class N, class S>
void add_prompts(const MlpAttentionArguments<F>& arguments, int64_t run, int first, int last,
                 double* sums) {
  using V = Lanes<F>;
  using Sum = SumOf<N, V>;
  const MlpAttentionSizes& sizes = arguments.sizes;
  const int64_t parameters = sizes.parameters();
  Frame frame;
  S* point = frame.take<S>(parameters);
  copy_arrays(arguments.weights, run, 0, point);
  copy_arrays(arguments.direction, run, Parts<S>::kCount - 1, point);
  V* buffer = frame.take<V>((sizes.context + 1) * (sizes.dim + 1));
  MlpAttention<form, D, N, S, V, Sum> network(sizes, point, frame);
  Sum* gradient = frame.zeros<Sum>(kParts * parameters);
  V error[kParts];
  over_parts<F>(first, last, [&](int part, int start, int end) {
    N loss = {};
    for (int prompt = start; prompt < end; prompt += kAllLanes<F>)
      network.add(load_prompts(arguments, run, prompt, buffer), loss, gradient + part * parameters);
    error[part] = Parts<N>::of(loss, 0);
  });
  sums[0] = sum_of_lanes<F>(error, 1);
  sums_of_lanes<F>(&Parts<Sum>::of(*gradient, 0), parameters, parameters, sums + 1);
}

// The code for the sizes: that for the paper's dimension, 5, or for any. N and S as of
// MlpAttention.
template <class F, class N, class S>
auto add_prompts_of(const MlpAttentionSizes& sizes) {
  const bool full = sizes.form == Form::full;
  if constexpr (kParticularSizes)
    if (sizes.dim == 5)
      return full ? add_prompts<Form::full, 5, F, N, S> : add_prompts<Form::block, 5, F, N, S>;
  return full ? add_prompts<Form::full, 0, F, N, S> : add_prompts<Form::block, 0, F, N, S>;
}

// The results are the loss where N is plain, then one array for each weight.
template <class F, class N, class S>
ffi::Error handle_mlp_attention(const ffi::ThreadPool& pool,
                                const MlpAttentionArguments<F>& arguments,
                                const std::vector<F*>& results) {
  constexpr bool dual = Parts<N>::kTangents > 0;
  const auto add = add_prompts_of<F, N, S>(arguments.sizes);
  over_chunks(
      pool, arguments.runs(), arguments.batch, 1 + arguments.sizes.parameters(),
      [&](int64_t run, int first, int last, double* sums) {
        add(arguments, run, first, last, sums);
      },
      [&](int64_t run, const double* sums) {
        size_t result = 0;
        const auto mean = [&](int64_t count) {
          mean_of_sums(sums, count, arguments.batch, results[result++] + run * count);
          sums += count;
        };
        dual ? void(++sums) : mean(1);
        for (const Operand<F>& weight : arguments.weights) mean(weight.size());
      });
  return ffi::Error::Success();
}

template <class F>
ffi::Error mlp_attention_gradient_handler(Threads pool, Input<F> P, Input<F> Q, Input<F> W1,
                                          Input<F> b1, Input<F> W2, Input<F> b2, Input<F> x,
                                          Input<F> y, Input<F> query, Input<F> target,
                                          Output<F> loss, Output<F> P_bar, Output<F> Q_bar,
                                          Output<F> W1_bar, Output<F> b1_bar, Output<F> W2_bar,
                                          Output<F> b2_bar, Attribute<kForm> form) {
  return handle_mlp_attention<F, Lanes<F>, F>(
      pool, gather_mlp_attention<F>(*form, {P, Q, W1, b1, W2, b2}, {}, {x, y, query, target}),
      {loss->typed_data(), P_bar->typed_data(), Q_bar->typed_data(), W1_bar->typed_data(),
       b1_bar->typed_data(), W2_bar->typed_data(), b2_bar->typed_data()});
}

template <class F>
ffi::Error mlp_attention_hvp_handler(Threads pool, Input<F> P, Input<F> Q, Input<F> W1, Input<F> b1,
                                     Input<F> W2, Input<F> b2, Input<F> P_dot, Input<F> Q_dot,
                                     Input<F> W1_dot, Input<F> b1_dot, Input<F> W2_dot,
                                     Input<F> b2_dot, Input<F> x, Input<F> y, Input<F> query,
                                     Input<F> target, Output<F> P_product, Output<F> Q_product,
                                     Output<F> W1_product, Output<F> b1_product,
                                     Output<F> W2_product, Output<F> b2_product,
                                     Attribute<kForm> form) {
  return handle_mlp_attention<F, Dual<Lanes<F>>, Dual<F>>(
      pool,
      gather_mlp_attention<F>(*form, {P, Q, W1, b1, W2, b2},
                              {P_dot, Q_dot, W1_dot, b1_dot, W2_dot, b2_dot},
                              {x, y, query, target}),
      {P_product->typed_data(), Q_product->typed_data(), W1_product->typed_data(),
       b1_product->typed_data(), W2_product->typed_data(), b2_product->typed_data()});
}

}  // namespace attnscape

// Defines the two handlers of type F under names that end in `suffix`.
#define ATTNSCAPE_DEFINE_MLP_ATTENTION(F, suffix)                              \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(attnscape_mlp_attention_gradient_##suffix,     \
                                attnscape::mlp_attention_gradient_handler<F>); \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(attnscape_mlp_attention_hvp_##suffix,          \
                                attnscape::mlp_attention_hvp_handler<F>)
