// XLA FFI handlers of the reduced form in floating type F: loss with gradient,
// Hessian-vector product, and the dense Hessian. Arrays come as jax.vmap leaves
// them, with leading axes that broadcast; moments lie with the batch innermost,
// so that a register loads one number of neighbouring prompts.
#pragma once

#include <type_traits>
#include <utility>

#include "handlers.hpp"
#include "hessian.hpp"

namespace attnscape {

// Runs the reduced form over prompts of one run, as over_parts names them.
template <Form form, int M, class F, class N, class S, class Sum>
void add_prompts(const Arguments<F>& arguments, int64_t run, const S* P, const S* Q, int first,
                 int end, N& loss, Sum* gradient) {
  using V = Lanes<F>;
  const int m = arguments.size;
  Frame frame;
  V* buffer = frame.take<V>(m * m + 2 * m);
  ReducedForm<form, M, N, S, V, Sum> reduced(m, arguments.layers, P, Q, frame);
  for (int prompt = first; prompt < end; prompt += kAllLanes<F>) {
    const auto moments = load_moments<form, M>(arguments, run, prompt, buffer);
    reduced.add(moments, loss, gradient, gradient + arguments.block());
  }
}

template <class F, Form f, int M>
struct Kernels {
  static constexpr Form form = f;
  static constexpr int size = M;

  // The reduced form as runs.hpp calls it.
  static auto adder(const Arguments<F>& arguments) {
    return [&arguments](int64_t run, const auto* P, const auto* Q, int first, int end, auto& loss,
                        auto* gradient) {
      add_prompts<form, M>(arguments, run, P, Q, first, end, loss, gradient);
    };
  }
};

// Sizes that the compiler knows, each of which takes it half a second or more. Others take the
// general code, at a quarter of the speed and with other last digits: to leave a size out changes
// what its runs compute.
template <int... sizes>
using Sizes = std::integer_sequence<int, sizes...>;
// d = 5 of the paper, in both forms.
using SizesOfPaper = std::conditional_t<kParticularSizes, Sizes<5, 6>, Sizes<>>;
// From d = 3 to 6 in the block form, and to 5 in the full form.
using SmallSizes = std::conditional_t<kParticularSizes, Sizes<3, 4, 5, 6>, Sizes<>>;

template <class F, Form f, int... sizes, class Call>
void with_size(Sizes<sizes...>, const Arguments<F>& arguments, const Call& call) {
  const bool known = (... || (arguments.size == sizes && (call(Kernels<F, f, sizes>{}), true)));
  if (!known) call(Kernels<F, f, 0>{});
}

template <class Known, class F, class Call>
void with_kernels(const Arguments<F>& arguments, const Call& call) {
  if (arguments.form == Form::full) {
    with_size<F, Form::full>(Known{}, arguments, call);
  } else {
    with_size<F, Form::block>(Known{}, arguments, call);
  }
}

// Gathers the arguments, and the leading axes that they share.
template <class F>
Arguments<F> gather(int32_t form, LeadingAxes axes, const Input<F>& P, const Input<F>& Q,
                    const Input<F>& gram, const Input<F>& cross, const Input<F>& square,
                    const Input<F>& query, const Input<F>& target) {
  axes.join(P, 3);
  axes.join(Q, 3);
  axes.join(gram, 3);
  axes.join(cross, 2);
  axes.join(square, 1);
  axes.join(query, 2);
  axes.join(target, 1);
  const auto gram_dims = gram.dimensions();
  const int dim = static_cast<int>(gram_dims[gram_dims.size() - 2]);
  return {runs_of<F>(axes, P, Q, gram), static_cast<Form>(form),    dim,
          Operand<F>(axes, gram, 3),    Operand<F>(axes, cross, 2), Operand<F>(axes, square, 1),
          Operand<F>(axes, query, 2),   Operand<F>(axes, target, 1)};
}

template <class F>
ffi::Error gradient_handler(Threads pool, Input<F> P, Input<F> Q, Input<F> gram, Input<F> cross,
                            Input<F> square, Input<F> query, Input<F> target, Output<F> loss,
                            Output<F> P_bar, Output<F> Q_bar, Attribute<kForm> form) {
  const auto arguments = gather<F>(*form, {}, P, Q, gram, cross, square, query, target);
  with_kernels<SmallSizes>(arguments, [&](auto kernels) {
    mean_gradient<F>(pool, arguments, kernels.adder(arguments), loss->typed_data(),
                     P_bar->typed_data(), Q_bar->typed_data());
  });
  return ffi::Error::Success();
}

template <class F>
ffi::Error hvp_handler(Threads pool, Input<F> P, Input<F> Q, Input<F> P_dot, Input<F> Q_dot,
                       Input<F> gram, Input<F> cross, Input<F> square, Input<F> query,
                       Input<F> target, Output<F> P_product, Output<F> Q_product,
                       Attribute<kForm> form) {
  LeadingAxes axes;
  axes.join(P_dot, 3);
  axes.join(Q_dot, 3);
  const auto arguments = gather<F>(*form, axes, P, Q, gram, cross, square, query, target);
  const Operand<F> P_direction(arguments.axes, P_dot, 3), Q_direction(arguments.axes, Q_dot, 3);
  with_kernels<SizesOfPaper>(arguments, [&](auto kernels) {
    mean_hvp<F>(pool, arguments, P_direction, Q_direction, kernels.adder(arguments),
                P_product->typed_data(), Q_product->typed_data());
  });
  return ffi::Error::Success();
}

template <class F>
ffi::Error hessian_handler(Threads pool, Input<F> P, Input<F> Q, Input<F> gram, Input<F> cross,
                           Input<F> square, Input<F> query, Input<F> target, Output<F> result,
                           Attribute<kForm> form) {
  const auto arguments = gather<F>(*form, {}, P, Q, gram, cross, square, query, target);
  with_kernels<SizesOfPaper>(arguments, [&](auto kernels) {
    using K = decltype(kernels);
    const auto add_prompts = [&](int64_t run, int first, int last, double* sums) {
      // Every size that the compiler knows takes it some seconds here: the paper's only.
      constexpr int size = K::size == matrix_size(K::form, 5) ? K::size : 0;
      add_to_hessian<K::form, size>(arguments, run, first, last, sums);
    };
    hessian<F>(pool, arguments, add_prompts, result->typed_data());
  });
  return ffi::Error::Success();
}

}  // namespace attnscape

// Defines the three handlers of type F under names that end in `suffix`.
#define ATTNSCAPE_DEFINE_OBJECTIVE(F, suffix)                                                 \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(attnscape_gradient_##suffix, attnscape::gradient_handler<F>); \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(attnscape_hvp_##suffix, attnscape::hvp_handler<F>);           \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(attnscape_hessian_##suffix, attnscape::hessian_handler<F>)
