// XLA FFI handlers that draw: plain normals, points, and whole prompts as moments (covariates,
// linear responses and moments in one pass, nothing stored between).

#include "sampler.hpp"

#include "arena.hpp"
#include "gaussian_points.hpp"
#include "handlers.hpp"
#include "operand.hpp"
#include "parallel.hpp"
#include "radial_points.hpp"

namespace attnscape {
namespace {

// Distributions of the covariates; the numbers are shared with tasks/regression.py.
enum class Distribution { gaussian = 0, correlated = 1, sphere = 2, radial = 3 };

// Writes lanes to result[number * batch + first ...], as many as the batch has.
template <class V, class E>
void put(E* result, int64_t batch, int64_t number, int64_t first, const V& v) {
  constexpr int64_t lanes = sizeof(V) / sizeof(E);
  const int64_t valid = std::min<int64_t>(lanes, batch - first);
  E* to = result + number * batch + first;
  if (valid == lanes) {
    store(to, v);
  } else {
    std::memcpy(to, &v, sizeof(E) * valid);
  }
}

// What all prompts of a call share.
template <class F>
struct Law {
  Distribution distribution;
  int dim, context;
  const float *factor, *table;
  F noise;  // its standard deviation, 0 but for normal covariates

  GaussianLaw gaussian() const {
    const bool plain = distribution == Distribution::gaussian;
    return {dim, context, plain ? nullptr : factor, table};
  }
  RadiusTable radius() const { return {distribution == Distribution::radial ? table : nullptr}; }
};

struct Keys {
  const uint32_t *covariates, *weights, *noise;
};

// The moments of one element of the joint axes.
template <class F>
struct Results {
  int64_t batch;
  F *gram, *cross, *square, *query, *target;
};

// The numbers of x in the kernel's floating type; `room` is for them if that is another one.
template <class F>
const Lanes<F>* converted(const LanesLike<F, float>* x, int count, Lanes<F>* room) {
  if constexpr (std::is_same_v<F, float>) {
    return x;
  } else {
    for (int i = 0; i < count; ++i) room[i] = __builtin_convertvector(x[i], Lanes<F>);
    return room;
  }
}

// Moments by sums over points; as responses have no noise, those with y follow from the others.
template <class F, int M>
void draw_by_points(const Law<F>& law, const Keys& keys, int64_t first, const Results<F>& results) {
  using V = Lanes<F>;
  using Single = LanesLike<F, float>;
  const int d = M > 0 ? M : law.dim;
  const int64_t batch = results.batch;
  Frame frame;
  V *gram = frame.zeros<V>(d * d), *weights = frame.take<V>(d), *room = frame.take<V>(2 * d);
  Single* x = frame.take<Single>(2 * d);  // of up to two points
  Normals<F, 2> weight_source(keys.weights, static_cast<int>(first));
  for (int i = 0; i < d; ++i) weights[i] = next_normal(weight_source);
  RadialPoints<F, M> source(law.radius(), keys.covariates, static_cast<int>(first));
  const auto draw = [&](auto points) {
    source.template next<points>(d, x);
    return converted<F>(x, points * d, room);
  };
  const auto add = [&](auto points) {
    const V* z = draw(points);
#pragma GCC unroll 5
    for (int i = 0; i < d; ++i) {
      V held[points];
      for (int k = 0; k < points; ++k) held[k] = z[k * d + i];
#pragma GCC unroll 5
      for (int j = i; j < d; ++j) {
        V sum = gram[i * d + j];
        for (int k = 0; k < points; ++k) sum += held[k] * z[k * d + j];
        gram[i * d + j] = sum;
      }
    }
  };
  constexpr std::integral_constant<int, 1> one = {};
  constexpr std::integral_constant<int, 2> two = {};
  for (int pair = 0; pair < law.context / 2; ++pair) add(two);
  if (law.context % 2 == 1) add(one);
  const V* query = draw(one);

  const F weight = F{1} / static_cast<F>(law.context);
  V square = {}, target = {};
#pragma GCC unroll 5
  for (int i = 0; i < d; ++i) {
    V cross = {};
#pragma GCC unroll 5
    for (int j = 0; j < d; ++j) {
      V& moment = gram[i * d + j];
      moment = j < i ? gram[j * d + i] : moment * weight;
      cross += weights[j] * moment;
      put(results.gram, batch, i * d + j, first, moment);
    }
    square += weights[i] * cross;
    target += weights[i] * query[i];
    put(results.cross, batch, i, first, cross);
    put(results.query, batch, i, first, query[i]);
  }
  put(results.square, batch, 0, first, square);
  put(results.target, batch, 0, first, target);
}

// Moments of normal covariates, by the triangle of gaussian_points.hpp; M is d = r if positive.
template <class F, int M>
void draw_by_triangle(const Law<F>& given, const Keys& keys, int64_t first,
                      const Results<F>& results) {
  using V = Lanes<F>;
  const GaussianLaw law = given.gaussian();
  const int d = M > 0 ? M : law.dim, r = M > 0 ? M : law.rank();
  const int64_t batch = results.batch;
  Frame frame;
  V *rows = frame.take<V>(d * r), *query = frame.take<V>(d);
  V* y = frame.take<V>(std::min(d + 1, law.context));  // the responses in the frame's coordinates
  Normals<F> normals(keys.covariates, static_cast<int>(first));
  draw_triangle(law, normals, query, rows, r);

  V target = {}, rest = {};
  if (given.noise != 0) {
    Normals<F> noise(keys.noise, static_cast<int>(first));
    target = given.noise * next_normal(noise);
    draw_row(law, d, noise, y);
    for (int j = 0; j < r; ++j) y[j] *= given.noise;
    if (d < law.context) rest = given.noise * y[d];
  } else {
    std::fill_n(y, r, V{});
  }
  Normals<F, 2> weights(keys.weights, static_cast<int>(first));
  for (int i = 0; i < d; ++i) {
    const V w = next_normal(weights);
    for (int j = 0; j < std::min(i + 1, r); ++j) y[j] += w * rows[i * r + j];
    target += w * query[i];
    put(results.query, batch, i, first, query[i]);
  }
  put(results.target, batch, 0, first, target);

  const F weight = F{1} / static_cast<F>(law.context);
  V square = rest * rest;
  for (int j = 0; j < r; ++j) square += y[j] * y[j];
  put(results.square, batch, 0, first, V(square * weight));
#pragma GCC unroll 5
  for (int i = 0; i < d; ++i) {
    const V* row = rows + i * r;
    V cross = {};
    for (int k = 0; k < std::min(i + 1, r); ++k) cross += row[k] * y[k];
    put(results.cross, batch, i, first, V(cross * weight));
#pragma GCC unroll 5
    for (int j = 0; j <= i; ++j) {
      V gram = {};
      for (int k = 0; k < std::min(j + 1, r); ++k) gram += row[k] * rows[j * r + k];
      gram *= weight;
      put(results.gram, batch, i * d + j, first, gram);
      if (j < i) put(results.gram, batch, j * d + i, first, gram);
    }
  }
}

constexpr int64_t kGroups = 4;  // lane groups a task draws

// Calls `draw(element, first)` for every lane group of every element of the joint axes.
template <class F, class Draw>
void for_groups(const ffi::ThreadPool& pool, int64_t elements, int64_t batch, const Draw& draw) {
  const int64_t groups = (batch + kLanes<F> - 1) / kLanes<F>;
  const int64_t tasks = (groups + kGroups - 1) / kGroups;
  parallel_for(pool, elements * tasks, [&](int64_t task) {
    const int64_t start = (task % tasks) * kGroups;
    for (int64_t group = start; group < std::min(start + kGroups, groups); ++group)
      draw(task / tasks, group * kLanes<F>);
  });
}

constexpr char kDistribution[] = "distribution", kContext[] = "context";

// Factor and table are any numbers where the distribution does not use them. The table has the
// quantiles of the radius, or for normal covariates the polynomials of `chi`.
template <class F>
ffi::Error moments_handler(Threads pool, Input<uint32_t> covariate_key, Input<uint32_t> weight_key,
                           Input<uint32_t> noise_key, Input<float> factor, Input<float> table,
                           Input<F> noise, Output<F> gram, Output<F> cross, Output<F> square,
                           Output<F> query, Output<F> target, Attribute<kDistribution> distribution,
                           Attribute<kContext> context) {
  LeadingAxes axes;
  for (const auto& key : {covariate_key, weight_key, noise_key}) axes.join(key, 1);
  const auto dims = gram->dimensions();
  const int64_t batch = dims.back();
  const int dim = static_cast<int>(dims[dims.size() - 2]);
  const Operand<uint32_t> covariate_keys(axes, covariate_key, 1), weight_keys(axes, weight_key, 1),
      noise_keys(axes, noise_key, 1);
  const Law<F> law{static_cast<Distribution>(*distribution),
                   dim,
                   *context,
                   factor.typed_data(),
                   table.typed_data(),
                   noise.typed_data()[0]};
  const bool normal = law.distribution <= Distribution::correlated;
  const auto draw =
      normal ? (dim == 5 && *context >= 5 ? draw_by_triangle<F, 5> : draw_by_triangle<F, 0>)
             : (dim == 5 ? draw_by_points<F, 5> : draw_by_points<F, 0>);
  for_groups<F>(pool, axes.elements(), batch, [&](int64_t element, int64_t first) {
    const int64_t offset = element * batch;
    draw(law, {covariate_keys.at(element), weight_keys.at(element), noise_keys.at(element)}, first,
         {batch, gram->typed_data() + offset * dim * dim, cross->typed_data() + offset * dim,
          square->typed_data() + offset, query->typed_data() + offset * dim,
          target->typed_data() + offset});
  });
  return ffi::Error::Success();
}

// Normal points, the query last, and their noise if `noise` has room for it.
template <class F>
ffi::Error points_handler(Threads pool, Input<uint32_t> covariate_key, Input<uint32_t> noise_key,
                          Input<uint32_t> frame_key, Input<float> factor, Input<float> table,
                          Output<F> points, Output<F> noise) {
  LeadingAxes axes;
  for (const auto& key : {covariate_key, noise_key, frame_key}) axes.join(key, 1);
  const auto dims = points->dimensions();
  const int64_t batch = dims.back();
  const int d = static_cast<int>(dims[dims.size() - 2]);
  const int n = static_cast<int>(dims[dims.size() - 3]) - 1;
  const bool noisy = noise->element_count() > 0;
  const GaussianLaw law{d, n, factor.typed_data(), table.typed_data()};
  const Operand<uint32_t> covariate_keys(axes, covariate_key, 1), noise_keys(axes, noise_key, 1),
      frame_keys(axes, frame_key, 1);
  for_groups<F>(pool, axes.elements(), batch, [&](int64_t element, int64_t first) {
    Frame frame;
    const auto drawn =
        draw_points<F>(law, covariate_keys.at(element), noisy ? noise_keys.at(element) : nullptr,
                       frame_keys.at(element), static_cast<int>(first), frame);
    F* x = points->typed_data() + element * batch * (n + 1) * d;
    for (int point = 0; point < n; ++point)
      for (int i = 0; i < d; ++i) put(x, batch, point * d + i, first, drawn.rows[i * n + point]);
    for (int i = 0; i < d; ++i) put(x, batch, n * d + i, first, drawn.query[i]);
    if (!noisy) return;
    F* e = noise->typed_data() + element * batch * (n + 1);
    for (int point = 0; point < n; ++point) put(e, batch, point, first, drawn.noise[point]);
    put(e, batch, n, first, drawn.target_noise);
  });
  return ffi::Error::Success();
}

// Points of a uniform direction, and of radius 1 if the table is empty.
ffi::Error radial_points_handler(Threads pool, Input<uint32_t> key, Input<float> table,
                                 Output<float> points) {
  using V = Lanes<float>;
  LeadingAxes axes;
  axes.join(key, 1);
  const auto dims = points->dimensions();
  const int64_t batch = dims.back();
  const int d = static_cast<int>(dims[dims.size() - 2]);
  const int64_t n = dims[dims.size() - 3];
  const RadiusTable radius{table.element_count() > 0 ? table.typed_data() : nullptr};
  const Operand<uint32_t> keys(axes, key, 1);
  for_groups<float>(pool, axes.elements(), batch, [&](int64_t element, int64_t first) {
    Frame frame;
    V* x = frame.take<V>(d);
    RadialPoints<float, 0> source(radius, keys.at(element), static_cast<int>(first));
    float* to = points->typed_data() + element * batch * n * d;
    for (int64_t point = 0; point < n; ++point) {
      source.next<1>(d, x);
      for (int i = 0; i < d; ++i) put(to, batch, point * d + i, first, x[i]);
    }
  });
  return ffi::Error::Success();
}

ffi::Error normals_handler(Threads pool, Input<uint32_t> key, Output<float> result) {
  using V = Normals<float>::V;
  LeadingAxes axes;
  axes.join(key, 1);
  const int64_t batch = result->dimensions().back();
  if (result->element_count() == 0) return ffi::Error::Success();
  const int64_t count = static_cast<int64_t>(result->element_count()) / (axes.elements() * batch);
  const Operand<uint32_t> keys(axes, key, 1);
  const int64_t groups = (batch + kLanes<float> - 1) / kLanes<float>;
  parallel_for(pool, axes.elements() * groups, [&](int64_t task) {
    const int64_t element = task / groups, first = (task % groups) * kLanes<float>;
    Normals<float> source(keys.at(element), static_cast<int>(first));
    float* to = result->typed_data() + element * batch * count;
    for (int64_t j = 0; j < count; ++j) {
      const V z = source.next();
      put(to, batch, j, first, z);
    }
  });
  return ffi::Error::Success();
}

}  // namespace
}  // namespace attnscape

XLA_FFI_DEFINE_HANDLER_SYMBOL(attnscape_moments_float32, attnscape::moments_handler<float>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(attnscape_moments_float64, attnscape::moments_handler<double>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(attnscape_points_float32, attnscape::points_handler<float>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(attnscape_points_float64, attnscape::points_handler<double>);
XLA_FFI_DEFINE_HANDLER_SYMBOL(attnscape_radial_points, attnscape::radial_points_handler);
XLA_FFI_DEFINE_HANDLER_SYMBOL(attnscape_normals, attnscape::normals_handler);
