// XLA FFI handlers of linear attention behind an MLP: loss with gradient, and
// Hessian-vector product. Arguments are the weights (P, Q, W1, b1, W2, b2), for the
// product a direction of the same shapes, then the prompts (x, y, query, target)
// with the batch innermost. Arrays come as jax.vmap leaves them.

#include "mlp_attention.hpp"

#include <type_traits>
#include <vector>

#include "chunks.hpp"
#include "operand.hpp"

namespace attnscape {
namespace {

using Buffer = ffi::AnyBuffer;
constexpr int kWeights = 6, kPrompts = 4;
constexpr int kWeightAxes[kWeights] = {3, 3, 2, 1, 2, 1};
constexpr int kPromptAxes[kPrompts] = {3, 2, 2, 1};

// Arrays that lie side by side in one vector: all weights, or a direction.
template <class F>
struct Arrays {
  std::vector<Operand<F>> operands;
  std::vector<int64_t> sizes;

  // Copies the arrays of `run` to part `part` of the numbers in `point`.
  template <class S>
  void gather(int64_t run, int part, S* point) const {
    for (size_t i = 0; i < operands.size(); ++i) {
      const F* from = operands[i].at(run);
      for (int64_t j = 0; j < sizes[i]; ++j) Parts<S>::of(point[j], part) = from[j];
      point += sizes[i];
    }
  }
};

template <class F>
struct Arguments {
  MlpAttentionSizes sizes;
  int batch;
  LeadingAxes axes;
  Arrays<F> weights, direction, prompts;  // no direction for the gradient

  int64_t runs() const { return axes.elements(); }
};

template <class F>
Arrays<F> operands(const LeadingAxes& axes, const Buffer* buffers, const int* trailing, int count) {
  Arrays<F> arrays;
  for (int i = 0; i < count; ++i) {
    const auto dims = buffers[i].dimensions();
    int64_t size = 1;
    for (auto dim = dims.end() - trailing[i]; dim != dims.end(); ++dim) size *= *dim;
    arrays.operands.emplace_back(axes, buffers[i], size);
    arrays.sizes.push_back(size);
  }
  return arrays;
}

// Reads the sizes off the shapes; that they fit together, Python has checked.
template <class F>
Arguments<F> gather(int32_t form, ffi::RemainingArgs given, bool with_direction) {
  std::vector<Buffer> buffers;
  for (size_t i = 0; i < given.size(); ++i) buffers.push_back(given.get<Buffer>(i).value());
  const Buffer* weights = buffers.data();
  const Buffer* direction = weights + kWeights;
  const Buffer* prompts = direction + (with_direction ? kWeights : 0);
  const int directions = with_direction ? kWeights : 0;
  LeadingAxes axes;
  for (int i = 0; i < kWeights; ++i) axes.join(weights[i], kWeightAxes[i]);
  for (int i = 0; i < directions; ++i) axes.join(direction[i], kWeightAxes[i]);
  for (int i = 0; i < kPrompts; ++i) axes.join(prompts[i], kPromptAxes[i]);
  const auto last = [](const Buffer& buffer, int axis) {
    return static_cast<int>(buffer.dimensions().end()[-axis]);
  };
  const MlpAttentionSizes sizes{static_cast<Form>(form), last(weights[0], 3), last(prompts[0], 2),
                                last(weights[3], 1), last(prompts[0], 3)};
  return {sizes,
          last(prompts[0], 1),
          axes,
          operands<F>(axes, weights, kWeightAxes, kWeights),
          operands<F>(axes, direction, kWeightAxes, directions),
          operands<F>(axes, prompts, kPromptAxes, kPrompts)};
}

// Loads the prompts of the lanes that start at prompt `first`.
template <class F>
LanePrompts<Lanes<F>> load_prompts(const Arguments<F>& arguments, int64_t run, int first,
                                   Lanes<F>* buffer) {
  using V = Lanes<F>;
  const int batch = arguments.batch;
  const int valid = std::min(kLanes<F>, batch - first);
  const auto copy = [&](int operand, V* to) {
    const F* from = arguments.prompts.operands[operand].at(run) + first;
    const int64_t count = arguments.prompts.sizes[operand] / batch;
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
void add_prompts(const Arguments<F>& arguments, int64_t run, int first, int last, double* sums) {
  using V = Lanes<F>;
  using Sum = SumOf<N, V>;
  const MlpAttentionSizes& sizes = arguments.sizes;
  const int64_t parameters = sizes.parameters();
  S* point = kept_numbers<struct Point, S>(parameters);
  arguments.weights.gather(run, 0, point);
  arguments.direction.gather(run, Parts<S>::kCount - 1, point);
  N* scratch = kept_numbers<struct MlpAttentionScratch, N>(sizes.scratch());
  V* buffer = kept_numbers<struct Tokens, V>((sizes.context + 1) * (sizes.dim + 1));
  MlpAttention<form, D, N, S, V, Sum> network(sizes, point, scratch);
  Sum* gradient = zeros<Sum>(parameters);
  N loss = {};
  for (int prompt = first; prompt < last; prompt += kLanes<F>)
    network.add(load_prompts(arguments, run, prompt, buffer), loss, gradient);
  sums[0] = sum_of_lanes<F>(Parts<N>::of(loss, 0));
  for (int64_t i = 0; i < parameters; ++i)
    sums[1 + i] = sum_of_lanes<F>(Parts<Sum>::of(gradient[i], 0));
}

// Runs call(form, D) with both as constants: D is 5, the paper's dimension, or 0.
template <class Call>
void with_sizes(const MlpAttentionSizes& sizes, const Call& call) {
  const auto of_form = [&](auto form) {
    if (sizes.dim == 5) return call(form, std::integral_constant<int, 5>{});
    return call(form, std::integral_constant<int, 0>{});
  };
  if (sizes.form == Form::full) {
    of_form(std::integral_constant<Form, Form::full>{});
  } else {
    of_form(std::integral_constant<Form, Form::block>{});
  }
}

// N and S as of MlpAttention. The results are the loss where N is plain, then one array
// for each weight.
template <class F, class N, class S>
ffi::Error handle(ffi::ThreadPool pool, ffi::RemainingArgs given, ffi::RemainingRets results,
                  int32_t form) {
  constexpr bool dual = Parts<N>::kTangents > 0;
  const auto arguments = gather<F>(form, given, dual);
  std::vector<F*> to;
  for (size_t i = 0; i < results.size(); ++i)
    to.push_back(results.get<Buffer>(i).value()->template typed_data<F>());
  const int64_t width = 1 + arguments.sizes.parameters();
  with_sizes(arguments.sizes, [&](auto f, auto D) {
    over_chunks(
        pool, arguments.runs(), arguments.batch, width,
        [&](int64_t run, int first, int last, double* sums) {
          add_prompts<decltype(f)::value, decltype(D)::value, F, N, S>(arguments, run, first, last,
                                                                       sums);
        },
        [&](int64_t run, const double* sums) {
          size_t result = 0;
          const auto mean = [&](int64_t count) {
            mean_of_chunks(sums, width, count, arguments.batch, to[result++] + run * count);
            sums += count;
          };
          dual ? void(++sums) : mean(1);
          for (const int64_t size : arguments.weights.sizes) mean(size);
        });
  });
  return ffi::Error::Success();
}

template <class F>
ffi::Error gradient(ffi::ThreadPool pool, ffi::RemainingArgs given, ffi::RemainingRets results,
                    int32_t form) {
  return handle<F, Lanes<F>, F>(pool, given, results, form);
}

template <class F>
ffi::Error hvp(ffi::ThreadPool pool, ffi::RemainingArgs given, ffi::RemainingRets results,
               int32_t form) {
  return handle<F, Dual<Lanes<F>>, Dual<F>>(pool, given, results, form);
}

}  // namespace
}  // namespace attnscape

#define ATTNSCAPE_MLP_ATTENTION(name, function)                        \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name, attnscape::function,             \
                                attnscape::ffi::Ffi::Bind()            \
                                    .Ctx<attnscape::ffi::ThreadPool>() \
                                    .RemainingArgs()                   \
                                    .RemainingRets()                   \
                                    .Attr<int32_t>("form"))
ATTNSCAPE_MLP_ATTENTION(attnscape_mlp_attention_gradient_float32, gradient<float>);
ATTNSCAPE_MLP_ATTENTION(attnscape_mlp_attention_gradient_float64, gradient<double>);
ATTNSCAPE_MLP_ATTENTION(attnscape_mlp_attention_hvp_float32, hvp<float>);
ATTNSCAPE_MLP_ATTENTION(attnscape_mlp_attention_hvp_float64, hvp<double>);
