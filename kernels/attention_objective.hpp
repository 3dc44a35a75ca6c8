// XLA FFI handlers of attention in floating type F: loss with gradient, and
// Hessian-vector product. Arrays come as jax.vmap leaves them, with leading axes
// that broadcast; prompts lie with the batch innermost.
#pragma once

#include <type_traits>

#include "attention.hpp"
#include "handlers.hpp"
#include "runs.hpp"

namespace attnscape {

inline constexpr char kActivation[] = "activation";

template <class F>
struct AttentionArguments : Runs<F> {
  Form form;
  Activation activation;
  int dim, context;
  Operand<F> x, y, query, target;
};

// Attention over prompts, as runs.hpp calls it.
template <Form form, class F>
auto attention_adder(const AttentionArguments<F>& a) {
  return [&a](int64_t run, const auto* P, const auto* Q, int first, int end, auto& loss,
              auto* gradient) {
    using N = std::decay_t<decltype(loss)>;
    using S = std::decay_t<decltype(*P)>;
    using Sum = std::decay_t<decltype(*gradient)>;
    Frame frame;
    Attention<form, F, N, S, Sum> attention(a.activation, a.dim, a.context, a.layers, P, Q, frame);
    const int d = a.dim, n = a.context;
    for (int prompt = first; prompt < end; prompt += kAllLanes<F>) {
      const auto lanes = [&](const Operand<F>& operand, int64_t number) {
        return load_lanes(operand, run, number, prompt, a.batch);
      };
      N* Z = attention.tokens();
      const auto set = [&](int row, int token, const Lanes<F>& value) {
        N& number = Z[row * (n + 1) + token];
        number = N{};
        add(number, value);
      };
      for (int i = 0; i < d; ++i) {
        for (int token = 0; token < n; ++token) set(i, token, lanes(a.x, token * d + i));
        set(i, n, lanes(a.query, i));
      }
      for (int token = 0; token < n; ++token) set(d, token, lanes(a.y, token));
      set(d, n, Lanes<F>{});
      attention.add(lanes(a.target, 0), loss, gradient, gradient + a.block());
    }
  };
}

// Calls `call` with the code for the form.
template <class F, class Call>
void with_attention(const AttentionArguments<F>& a, const Call& call) {
  if (a.form == Form::full) return call(attention_adder<Form::full>(a));
  return call(attention_adder<Form::block>(a));
}

template <class F>
AttentionArguments<F> gather_attention(int32_t form, int32_t activation, LeadingAxes axes,
                                       const Input<F>& P, const Input<F>& Q, const Input<F>& x,
                                       const Input<F>& y, const Input<F>& query,
                                       const Input<F>& target) {
  axes.join(P, 3);
  axes.join(Q, 3);
  axes.join(x, 3);
  axes.join(y, 2);
  axes.join(query, 2);
  axes.join(target, 1);
  const auto dims = x.dimensions();
  const int context = static_cast<int>(dims[dims.size() - 3]);
  const int dim = static_cast<int>(dims[dims.size() - 2]);
  return {runs_of<F>(axes, P, Q, x),
          static_cast<Form>(form),
          static_cast<Activation>(activation),
          dim,
          context,
          Operand<F>(axes, x, 3),
          Operand<F>(axes, y, 2),
          Operand<F>(axes, query, 2),
          Operand<F>(axes, target, 1)};
}

template <class F>
ffi::Error attention_gradient_handler(Threads pool, Input<F> P, Input<F> Q, Input<F> x, Input<F> y,
                                      Input<F> query, Input<F> target, Output<F> loss,
                                      Output<F> P_bar, Output<F> Q_bar, Attribute<kForm> form,
                                      Attribute<kActivation> activation) {
  const auto arguments = gather_attention<F>(*form, *activation, {}, P, Q, x, y, query, target);
  with_attention(arguments, [&](const auto& adder) {
    mean_gradient<F>(pool, arguments, adder, loss->typed_data(), P_bar->typed_data(),
                     Q_bar->typed_data());
  });
  return ffi::Error::Success();
}

template <class F>
ffi::Error attention_hvp_handler(Threads pool, Input<F> P, Input<F> Q, Input<F> P_dot,
                                 Input<F> Q_dot, Input<F> x, Input<F> y, Input<F> query,
                                 Input<F> target, Output<F> P_product, Output<F> Q_product,
                                 Attribute<kForm> form, Attribute<kActivation> activation) {
  LeadingAxes axes;
  axes.join(P_dot, 3);
  axes.join(Q_dot, 3);
  const auto arguments = gather_attention<F>(*form, *activation, axes, P, Q, x, y, query, target);
  const Operand<F> P_direction(arguments.axes, P_dot, 3), Q_direction(arguments.axes, Q_dot, 3);
  with_attention(arguments, [&](const auto& adder) {
    mean_hvp<F>(pool, arguments, P_direction, Q_direction, adder, P_product->typed_data(),
                Q_product->typed_data());
  });
  return ffi::Error::Success();
}

}  // namespace attnscape

// Defines the two handlers of type F under names that end in `suffix`.
#define ATTNSCAPE_DEFINE_ATTENTION(F, suffix)                              \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(attnscape_attention_gradient_##suffix,     \
                                attnscape::attention_gradient_handler<F>); \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(attnscape_attention_hvp_##suffix,          \
                                attnscape::attention_hvp_handler<F>)
