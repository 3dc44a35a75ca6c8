// What the playground asks of the kernels, as functions for WebAssembly. The kernels' own files
// are compiled as they are: prompts, losses, gradients and Hessians are those of the package.
//
// One problem at a time. Parameters lie as in `ravel_pytree`: all of P, then all of Q, each in
// (layer, row, column) order. Data of prompts lie in one array, batch innermost: for linear
// attention gram, cross, square, query, target; for softmax attention x, y, query, target.

#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "../kernels/attention_objective.hpp"
#include "../kernels/objective.hpp"
#include "../kernels/sampler.cpp"

#define EXPORTED extern "C" __attribute__((used, visibility("default")))

namespace attnscape {
namespace {

struct Problem {
  int layers, dim, context;
  Distribution distribution;
  bool softmax;
  const float* table;  // of the radius or of the chi numbers, see `moments_handler`
  int entries;
};

Problem problem;
const ffi::ThreadPool one_thread;

int64_t block() { return int64_t{problem.layers} * problem.dim * problem.dim; }

template <class F>
Input<F> input(const F* data, std::vector<int64_t> dims) {
  return {data, dims};
}

template <class F>
Input<F> matrices(const F* data) {
  return {data, {problem.layers, problem.dim, problem.dim}};
}

// The pieces of one array of data, in their order.
template <class F>
struct Pieces {
  F* next;
  F* take(int64_t count) { return (next += count) - count; }
};

template <class F>
struct MomentArrays {
  F *gram, *cross, *square, *query, *target;
  MomentArrays(F* data, int64_t batch) {
    Pieces<F> pieces{data};
    gram = pieces.take(batch * problem.dim * problem.dim);
    cross = pieces.take(batch * problem.dim);
    square = pieces.take(batch);
    query = pieces.take(batch * problem.dim);
    target = pieces.take(batch);
  }
};

template <class F>
struct PromptArrays {
  F *x, *y, *query, *target;
  PromptArrays(F* data, int64_t batch) {
    Pieces<F> pieces{data};
    x = pieces.take(batch * problem.context * problem.dim);
    y = pieces.take(batch * problem.context);
    query = pieces.take(batch * problem.dim);
    target = pieces.take(batch);
  }
};

void derive(const uint32_t* key, uint32_t first, uint32_t second, uint32_t* derived) {
  Threefry<float>::U words[2][1];
  Threefry<float>(key, first)(second, 0, words[0], words[1]);
  for (int i = 0; i < 2; ++i) derived[i] = words[i][0][0];
}

// The responses of whole prompts, the numbers of `RegressionTask.sample`; `point` gives numbers of
// a token, the last of which is the query.
template <class F, class Point>
void put_prompts(const uint32_t* key_w, int batch, int first, const Point& point, F* data) {
  using V = Lanes<F>;
  const int d = problem.dim, n = problem.context;
  const PromptArrays<F> arrays(data, batch);
  Frame frame;
  V* weights = frame.take<V>(d);
  Normals<F> weight_source(key_w, first);
  for (int i = 0; i < d; ++i) weights[i] = next_normal(weight_source);
  for (int token = 0; token <= n; ++token) {
    V y = {};
    for (int i = 0; i < d; ++i) {
      const V number = point(token, i);
      y += weights[i] * number;
      if (token < n) {
        put(arrays.x, batch, token * d + i, first, number);
      } else {
        put(arrays.query, batch, i, first, number);
      }
    }
    if (token < n) {
      put(arrays.y, batch, token, first, y);
    } else {
      put(arrays.target, batch, 0, first, y);
    }
  }
}

template <class F>
void draw_prompts(const uint32_t* key_x, const uint32_t* key_w, const uint32_t* key_frame,
                  int batch, F* data) {
  using V = Lanes<F>;
  const int d = problem.dim, n = problem.context;
  const GaussianLaw law{d, n, nullptr, problem.table};
  for (int first = 0; first < batch; first += kLanes<F>) {
    Frame frame;
    if (problem.distribution == Distribution::gaussian) {
      const auto drawn = draw_points<F>(law, key_x, nullptr, key_frame, first, frame);
      const auto point = [&](int token, int i) {
        return token < n ? drawn.rows[i * n + token] : drawn.query[i];
      };
      put_prompts(key_w, batch, first, point, data);
    } else {
      LanesLike<F, float>* x = frame.take<LanesLike<F, float>>(d * (n + 1));
      const bool radial = problem.distribution == Distribution::radial;
      RadialPoints<F, 0> points({radial ? problem.table : nullptr}, key_x, first);
      for (int token = 0; token <= n; ++token) points.template next<1>(d, x + token * d);
      const auto point = [&](int token, int i) {
        return __builtin_convertvector(x[token * d + i], V);
      };
      put_prompts(key_w, batch, first, point, data);
    }
  }
}

template <class F>
void draw(int batch, const uint32_t* key, F* data) {
  uint32_t key_x[2], key_w[2], key_frame[2];
  derive(key, 0, 0, key_x);
  derive(key, 1, 0, key_w);
  derive(key, 3, 0, key_frame);
  if (problem.softmax) return draw_prompts(key_x, key_w, key_frame, batch, data);
  const MomentArrays<F> m(data, batch);
  const int64_t d = problem.dim;
  const F no_noise = 0;
  moments_handler<F>(one_thread, input<uint32_t>(key_x, {2}), input<uint32_t>(key_w, {2}),
                     input<uint32_t>(key_w, {2}), input<float>(nullptr, {0}),
                     input<float>(problem.table, {problem.entries}), input<F>(&no_noise, {}),
                     {m.gram, {d, d, batch}}, {m.cross, {d, batch}}, {m.square, {batch}},
                     {m.query, {d, batch}}, {m.target, {batch}},
                     {static_cast<int32_t>(problem.distribution)}, {problem.context});
}

// Calls `call` with the kernels' arguments and, for d = 5 or any d, their code.
template <class F, class Call>
void with_linear(const F* parameters, const F* data, int batch, const Call& call,
                 LeadingAxes axes = {}) {
  const MomentArrays<F> m(const_cast<F*>(data), batch);
  const int64_t d = problem.dim;
  const auto arguments = gather<F>(static_cast<int32_t>(Form::block), axes, matrices(parameters),
                                   matrices(parameters + block()), input(m.gram, {d, d, batch}),
                                   input(m.cross, {d, batch}), input(m.square, {batch}),
                                   input(m.query, {d, batch}), input(m.target, {batch}));
  if (d == 5) {
    call(arguments, Kernels<F, Form::block, 5>{});
  } else {
    call(arguments, Kernels<F, Form::block, 0>{});
  }
}

template <class F, class Call>
void with_softmax(const F* parameters, const F* data, int batch, const Call& call,
                  LeadingAxes axes = {}) {
  const PromptArrays<F> p(const_cast<F*>(data), batch);
  const int64_t d = problem.dim, n = problem.context;
  const auto arguments = gather_attention<F>(
      static_cast<int32_t>(Form::block), static_cast<int32_t>(Activation::softmax), axes,
      matrices(parameters), matrices(parameters + block()), input(p.x, {n, d, batch}),
      input(p.y, {n, batch}), input(p.query, {d, batch}), input(p.target, {batch}));
  call(arguments, attention_adder<Form::block>(arguments));
}

// The number z with P(|Z| <= |x|) where Z is N(0, 1/2): Giles (2010), in single precision, which
// XLA evaluates too.
float inverse_error_function(float x) {
  constexpr float kCentre[] = {1.50140941f,     0.246640727f,    -0.00417768164f,
                               -0.00125372503f, 0.00021858087f,  -4.39150654e-06f,
                               -3.5233877e-06f, 3.43273939e-07f, 2.81022636e-08f};
  constexpr float kTail[] = {2.83297682f,    1.00167406f,     0.00943887047f,
                             -0.0076224613f, 0.00573950773f,  -0.00367342844f,
                             0.00134934322f, 0.000100950558f, -0.000200214257f};
  const float w = -std::log1p(-x * x);
  return x * (w < 5 ? polynomial(w - 2.5f, kCentre) : polynomial(std::sqrt(w) - 3, kTail));
}

}  // namespace
}  // namespace attnscape

using namespace attnscape;

EXPORTED void set_problem(int layers, int dim, int context, int distribution, int softmax,
                          const float* table, int entries) {
  problem = {layers,       dim,   context, static_cast<Distribution>(distribution),
             softmax != 0, table, entries};
}

// Numbers in the data of `batch` prompts.
EXPORTED int data_numbers(int batch) {
  const int d = problem.dim, n = problem.context;
  return batch * (problem.softmax ? n * d + n + d + 1 : d * d + 2 * d + 2);
}

// Key `index` of jax.random.split(jax.random.key(seed)): 0 draws the initial model, 1 prompts.
EXPORTED void key_of_seed(uint32_t seed, uint32_t index, uint32_t* key) {
  const uint32_t whole[2] = {0, seed};
  derive(whole, 0, index, key);
}

EXPORTED void derived_key(const uint32_t* key, uint32_t first, uint32_t second, uint32_t* derived) {
  derive(key, first, second, derived);
}

// The parameters that `LinearTransformer.init` draws: scale times jax.random.normal.
EXPORTED void initial_parameters(uint32_t seed, float scale, float* parameters) {
  uint32_t init[2], key[2];
  key_of_seed(seed, 0, init);
  for (uint32_t matrix = 0; matrix < 2; ++matrix) {
    derive(init, 0, matrix, key);
    for (int64_t i = 0; i < block(); ++i) {
      uint32_t words[2];
      derive(key, 0, static_cast<uint32_t>(i), words);
      const uint32_t bits = (words[0] ^ words[1]) >> 9 | 0x3f800000u;
      float unit;
      std::memcpy(&unit, &bits, sizeof(float));
      const float lowest = std::nextafter(-1.0f, 0.0f);
      const float uniform = std::fmax(lowest, (unit - 1) * (1 - lowest) + lowest);
      parameters[matrix * block() + i] = scale * (1.41421356f * inverse_error_function(uniform));
    }
  }
}

EXPORTED void draw_single(int batch, const uint32_t* key, float* data) { draw(batch, key, data); }
EXPORTED void draw_double(int batch, const uint32_t* key, double* data) { draw(batch, key, data); }

// The mean loss; its gradient is written.
EXPORTED float loss_and_gradient(int batch, const float* data, const float* parameters,
                                 float* gradient) {
  float loss;
  const auto call = [&](const auto& arguments, const auto& adder) {
    mean_gradient<float>(one_thread, arguments, adder, &loss, gradient, gradient + block());
  };
  if (problem.softmax) {
    with_softmax<float>(parameters, data, batch, call);
  } else {
    with_linear<float>(parameters, data, batch, [&](const auto& arguments, auto kernels) {
      call(arguments, kernels.adder(arguments));
    });
  }
  return loss;
}

EXPORTED void hessian_times(int batch, const double* data, const double* parameters,
                            const double* direction, double* result) {
  const auto P_dot = matrices(direction), Q_dot = matrices(direction + block());
  LeadingAxes axes;
  axes.join(P_dot, 3);
  axes.join(Q_dot, 3);
  const auto call = [&](const auto& arguments, const auto& adder) {
    const Operand<double> P(arguments.axes, P_dot, 3), Q(arguments.axes, Q_dot, 3);
    mean_hvp<double>(one_thread, arguments, P, Q, adder, result, result + block());
  };
  if (problem.softmax) {
    with_softmax<double>(parameters, data, batch, call, axes);
  } else {
    with_linear<double>(
        parameters, data, batch,
        [&](const auto& arguments, auto kernels) { call(arguments, kernels.adder(arguments)); },
        axes);
  }
}

// The dense Hessian of linear attention.
EXPORTED void dense_hessian(int batch, const double* data, const double* parameters,
                            double* matrix) {
  with_linear<double>(parameters, data, batch, [&](const auto& arguments, auto kernels) {
    using K = decltype(kernels);
    const auto add_prompts = [&](int64_t run, int first, int last, double* sums) {
      add_to_hessian<K::form, K::size>(arguments, run, first, last, sums);
    };
    hessian<double>(one_thread, arguments, add_prompts, matrix);
  });
}
