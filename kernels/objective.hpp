// XLA FFI handlers of the reduced form in floating type F: loss with gradient,
// Hessian-vector product, and the dense Hessian. Arrays come as jax.vmap leaves
// them, with leading axes that broadcast; moments lie with the batch innermost,
// so that a register loads one number of neighbouring prompts.
#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "operand.hpp"
#include "parallel.hpp"
#include "reduced_form.hpp"

namespace attnscape {

// Prompts that are summed in F before the sum goes on in double. Fixed, and a
// multiple of every lane count, so that results do not depend on the machine's
// number of threads.
inline constexpr int kChunk = 128;

template <class F>
struct Arguments {
  Form form;
  int layers, dim, batch;
  LeadingAxes axes;
  Operand<F> P, Q, gram, cross, square, query, target;

  int size() const { return matrix_size(form, dim); }
  int64_t block() const { return static_cast<int64_t>(layers) * size() * size(); }
  int64_t parameters() const { return 2 * block(); }
  int64_t runs() const { return axes.elements(); }
  int64_t chunks() const { return (batch + kChunk - 1) / kChunk; }
};

// The moments of the lanes that start at prompt `first`.
template <class F>
void load_moments(const Arguments<F>& arguments, int64_t run, int first, Lanes<F>* buffer,
                  LaneMoments<Lanes<F>>& moments) {
  using V = Lanes<F>;
  const int d = arguments.dim, m = arguments.size(), batch = arguments.batch;
  const int valid = std::min(kLanes<F>, batch - first);
  const auto lanes = [&](const Operand<F>& operand, int number) {
    const F* from = operand.at(run) + static_cast<int64_t>(number) * batch + first;
    return valid == kLanes<F> ? load<V>(from) : load_some<V>(from, valid);
  };
  V* gram = buffer;
  V* cross = gram + m * m;
  V* query = cross + d;
  for (int i = 0; i < d; ++i) {
    for (int j = 0; j < d; ++j) gram[i * m + j] = lanes(arguments.gram, i * d + j);
    cross[i] = lanes(arguments.cross, i);
    query[i] = lanes(arguments.query, i);
  }
  if (arguments.form == Form::full) {
    for (int i = 0; i < d; ++i) gram[i * m + d] = gram[d * m + i] = cross[i];
    gram[d * m + d] = lanes(arguments.square, 0);
    query[d] = V{};
  }
  moments = {gram, cross, query, lanes(arguments.target, 0)};
}

// Runs the reduced form over prompts [first, last) of one run.
template <Form form, int M, class F, class N, class S, class Sum>
void add_prompts(const Arguments<F>& arguments, int64_t run, const S* P, const S* Q, int first,
                 int last, N& loss, Sum* gradient) {
  using V = Lanes<F>;
  const int m = arguments.size();
  V* buffer = kept_numbers<struct MomentsBuffer, V>(m * m + 2 * m);
  N* scratch = kept_numbers<struct Scratch, N>(tape_numbers(m, arguments.layers));
  ReducedForm<form, M, N, S, V, Sum> reduced(m, arguments.layers, P, Q, scratch);
  LaneMoments<V> moments;
  for (int prompt = first; prompt < last; prompt += kLanes<F>) {
    load_moments(arguments, run, prompt, buffer, moments);
    reduced.add(moments, loss, gradient, gradient + arguments.block());
  }
}

template <class Sum>
Sum* zeros(int64_t count) {
  Sum* sums = kept_numbers<struct Sums, Sum>(count);
  for (int64_t i = 0; i < count; ++i) sums[i] = Sum{};
  return sums;
}

// Adds up `count` numbers of each of `chunks` partial sums, in their order.
template <class F>
void mean_of_chunks(const double* partial, int64_t chunks, int64_t stride, int64_t count,
                    int batch, F* result) {
  for (int64_t i = 0; i < count; ++i) {
    double sum = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk * stride + i];
    result[i] = static_cast<F>(sum / batch);
  }
}

// Splits every run into chunks of prompts, lets `one_chunk(run, first, last,
// sums)` write `width` sums for each, and `finish(run, sums)` end the run.
template <class F, class OneChunk, class Finish>
void over_chunks(ffi::ThreadPool& pool, const Arguments<F>& arguments, int64_t width,
                 const OneChunk& one_chunk, const Finish& finish) {
  const int64_t chunks = arguments.chunks();
  double* partial = kept_numbers<struct Partial, double>(arguments.runs() * chunks * width);
  const auto open = std::make_unique<std::atomic<int64_t>[]>(arguments.runs());
  for (int64_t run = 0; run < arguments.runs(); ++run) open[run] = chunks;
  parallel_for(pool, arguments.runs() * chunks, [&](int64_t task) {
    const int64_t run = task / chunks, chunk = task % chunks;
    const int first = static_cast<int>(chunk * kChunk);
    const int last = std::min(first + kChunk, arguments.batch);
    one_chunk(run, first, last, partial + task * width);
    if (open[run].fetch_sub(1) == 1) finish(run, partial + run * chunks * width);
  });
}

template <class F, Form form, int M>
struct Kernels {
  static void gradient(ffi::ThreadPool& pool, const Arguments<F>& arguments, F* loss, F* P_bar,
                       F* Q_bar) {
    using V = Lanes<F>;
    const int64_t parameters = arguments.parameters(), block = arguments.block();
    const int64_t width = 1 + parameters;
    over_chunks(
        pool, arguments, width,
        [&](int64_t run, int first, int last, double* sums) {
          V* gradient = zeros<V>(parameters);
          V error = {};
          add_prompts<form, M>(arguments, run, arguments.P.at(run), arguments.Q.at(run), first,
                               last, error, gradient);
          sums[0] = sum_of_lanes<F>(error);
          for (int64_t i = 0; i < parameters; ++i) sums[1 + i] = sum_of_lanes<F>(gradient[i]);
        },
        [&](int64_t run, const double* sums) {
          const int64_t chunks = arguments.chunks();
          mean_of_chunks(sums, chunks, width, 1, arguments.batch, loss + run);
          mean_of_chunks(sums + 1, chunks, width, block, arguments.batch, P_bar + run * block);
          mean_of_chunks(sums + 1 + block, chunks, width, block, arguments.batch,
                         Q_bar + run * block);
        });
  }

  static void hvp(ffi::ThreadPool& pool, const Arguments<F>& arguments, const Operand<F>& P_dot,
                  const Operand<F>& Q_dot, F* P_product, F* Q_product) {
    using V = Lanes<F>;
    using N = Dual<V>;
    const int64_t parameters = arguments.parameters(), block = arguments.block();
    over_chunks(
        pool, arguments, parameters,
        [&](int64_t run, int first, int last, double* sums) {
          std::vector<Dual<F>> point(parameters);
          for (int64_t i = 0; i < block; ++i) {
            point[i] = {{arguments.P.at(run)[i], P_dot.at(run)[i]}};
            point[block + i] = {{arguments.Q.at(run)[i], Q_dot.at(run)[i]}};
          }
          V* gradient = zeros<V>(parameters);
          N error = {};
          add_prompts<form, M>(arguments, run, point.data(), point.data() + block, first, last,
                               error, gradient);
          for (int64_t i = 0; i < parameters; ++i)
            sums[i] = sum_of_lanes<F>(gradient[i]);
        },
        [&](int64_t run, const double* sums) {
          const int64_t chunks = arguments.chunks();
          mean_of_chunks(sums, chunks, parameters, block, arguments.batch,
                         P_product + run * block);
          mean_of_chunks(sums + block, chunks, parameters, block, arguments.batch,
                         Q_product + run * block);
        });
  }

  // One Hessian-vector product a row. Parameters that never reach the loss
  // (most of the last layer's P) have rows of exact zeros and cost nothing.
  static void hessian(ffi::ThreadPool& pool, const Arguments<F>& arguments, F* result) {
    using V = Lanes<F>;
    using N = Dual<V>;
    const int64_t parameters = arguments.parameters(), block = arguments.block();
    const int m = arguments.size();
    std::vector<int64_t> live;
    for (int64_t i = 0; i < parameters; ++i) {
      const bool last_P = i >= block - m * m && i < block;
      const bool last_row = i >= block - m;
      if (!last_P || (form == Form::full && last_row)) live.push_back(i);
    }
    std::fill(result, result + arguments.runs() * parameters * parameters, F{0});
    const int64_t rows = static_cast<int64_t>(live.size());
    parallel_for(pool, arguments.runs() * rows, [&](int64_t task) {
      const int64_t run = task / rows, row = live[task % rows];
      std::vector<Dual<F>> point(parameters);
      for (int64_t i = 0; i < block; ++i) {
        point[i].part[0] = arguments.P.at(run)[i];
        point[block + i].part[0] = arguments.Q.at(run)[i];
      }
      point[row].part[1] = 1;
      std::vector<double> sums(parameters);
      for (int first = 0; first < arguments.batch; first += kChunk) {
        const int last = std::min(first + kChunk, arguments.batch);
        V* gradient = zeros<V>(parameters);
        N error = {};
        add_prompts<form, M>(arguments, run, point.data(), point.data() + block, first, last,
                             error, gradient);
        for (int64_t i = 0; i < parameters; ++i) sums[i] += sum_of_lanes<F>(gradient[i]);
      }
      F* to = result + (run * parameters + row) * parameters;
      for (int64_t i = 0; i < parameters; ++i) to[i] = static_cast<F>(sums[i] / arguments.batch);
    });
  }
};

// Sizes that the compiler knows: the block form up to d = 6 and the full form
// up to d = 5. Others take the general code.
template <class F, class Call>
void with_kernels(const Arguments<F>& arguments, const Call& call) {
  const auto of_form = [&](auto form) {
    constexpr Form f = decltype(form)::value;
    switch (arguments.size()) {
      case 2: return call(Kernels<F, f, 2>{});
      case 3: return call(Kernels<F, f, 3>{});
      case 4: return call(Kernels<F, f, 4>{});
      case 5: return call(Kernels<F, f, 5>{});
      case 6: return call(Kernels<F, f, 6>{});
      default: return call(Kernels<F, f, 0>{});
    }
  };
  if (arguments.form == Form::full) {
    of_form(std::integral_constant<Form, Form::full>{});
  } else {
    of_form(std::integral_constant<Form, Form::block>{});
  }
}

// Checks what Python has promised, and gathers the arguments.
template <class F>
Arguments<F> gather(int32_t form, LeadingAxes axes, const ffi::AnyBuffer& P,
                    const ffi::AnyBuffer& Q, const ffi::AnyBuffer& gram,
                    const ffi::AnyBuffer& cross, const ffi::AnyBuffer& square,
                    const ffi::AnyBuffer& query, const ffi::AnyBuffer& target) {
  axes.join(P, 3);
  axes.join(Q, 3);
  axes.join(gram, 3);
  axes.join(cross, 2);
  axes.join(square, 1);
  axes.join(query, 2);
  axes.join(target, 1);
  const auto P_dims = P.dimensions(), gram_dims = gram.dimensions();
  const int layers = static_cast<int>(P_dims[P_dims.size() - 3]);
  const int m = static_cast<int>(P_dims.back());
  const int dim = static_cast<int>(gram_dims[gram_dims.size() - 2]);
  const int batch = static_cast<int>(gram_dims.back());
  const int64_t block = static_cast<int64_t>(layers) * m * m;
  return {static_cast<Form>(form),
          layers,
          dim,
          batch,
          axes,
          Operand<F>(axes, P, block),
          Operand<F>(axes, Q, block),
          Operand<F>(axes, gram, static_cast<int64_t>(batch) * dim * dim),
          Operand<F>(axes, cross, static_cast<int64_t>(batch) * dim),
          Operand<F>(axes, square, batch),
          Operand<F>(axes, query, static_cast<int64_t>(batch) * dim),
          Operand<F>(axes, target, batch)};
}

using Buffer = ffi::AnyBuffer;
using Result = ffi::Result<ffi::AnyBuffer>;

template <class F>
ffi::Error gradient_handler(ffi::ThreadPool pool, Buffer P, Buffer Q, Buffer gram, Buffer cross,
                            Buffer square, Buffer query, Buffer target, Result loss, Result P_bar,
                            Result Q_bar, int32_t form) {
  const auto arguments = gather<F>(form, {}, P, Q, gram, cross, square, query, target);
  with_kernels(arguments, [&](auto kernels) {
    kernels.gradient(pool, arguments, loss->typed_data<F>(), P_bar->typed_data<F>(),
                     Q_bar->typed_data<F>());
  });
  return ffi::Error::Success();
}

template <class F>
ffi::Error hvp_handler(ffi::ThreadPool pool, Buffer P, Buffer Q, Buffer P_dot, Buffer Q_dot,
                       Buffer gram, Buffer cross, Buffer square, Buffer query, Buffer target,
                       Result P_product, Result Q_product, int32_t form) {
  LeadingAxes axes;
  axes.join(P_dot, 3);
  axes.join(Q_dot, 3);
  const auto arguments = gather<F>(form, axes, P, Q, gram, cross, square, query, target);
  const Operand<F> P_direction(arguments.axes, P_dot, arguments.block());
  const Operand<F> Q_direction(arguments.axes, Q_dot, arguments.block());
  with_kernels(arguments, [&](auto kernels) {
    kernels.hvp(pool, arguments, P_direction, Q_direction, P_product->typed_data<F>(),
                Q_product->typed_data<F>());
  });
  return ffi::Error::Success();
}

template <class F>
ffi::Error hessian_handler(ffi::ThreadPool pool, Buffer P, Buffer Q, Buffer gram, Buffer cross,
                           Buffer square, Buffer query, Buffer target, Result result,
                           int32_t form) {
  const auto arguments = gather<F>(form, {}, P, Q, gram, cross, square, query, target);
  with_kernels(arguments, [&](auto kernels) {
    kernels.hessian(pool, arguments, result->typed_data<F>());
  });
  return ffi::Error::Success();
}

}  // namespace attnscape

// Defines the three handlers of type F under names that end in `suffix`.
#define ATTNSCAPE_BUFFERS(kind, n) ATTNSCAPE_BUFFERS_##n(.kind<attnscape::Buffer>())
#define ATTNSCAPE_BUFFERS_1(b) b
#define ATTNSCAPE_BUFFERS_2(b) b b
#define ATTNSCAPE_BUFFERS_3(b) b b b
#define ATTNSCAPE_BUFFERS_7(b) b b b b b b b
#define ATTNSCAPE_BUFFERS_9(b) b b b b b b b b b
#define ATTNSCAPE_HANDLER(name, function, arguments, results)                          \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                       \
      name, function,                                                                  \
      attnscape::ffi::Ffi::Bind().Ctx<attnscape::ffi::ThreadPool>() ATTNSCAPE_BUFFERS( \
          Arg, arguments) ATTNSCAPE_BUFFERS(Ret, results)                              \
          .Attr<int32_t>("form"))
#define ATTNSCAPE_DEFINE_OBJECTIVE(F, suffix)                                                \
  ATTNSCAPE_HANDLER(attnscape_gradient_##suffix, attnscape::gradient_handler<F>, 7, 3);      \
  ATTNSCAPE_HANDLER(attnscape_hvp_##suffix, attnscape::hvp_handler<F>, 9, 2);                \
  ATTNSCAPE_HANDLER(attnscape_hessian_##suffix, attnscape::hessian_handler<F>, 7, 1)
