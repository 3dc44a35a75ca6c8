// XLA FFI handlers that draw: plain normals, and whole prompts as moments
// (covariates, linear responses and moments in one pass, nothing stored between).

#include "sampler.hpp"

#include "arena.hpp"
#include "handlers.hpp"
#include "operand.hpp"
#include "parallel.hpp"

namespace attnscape {
namespace {

// Distributions of the covariates; the numbers are shared with tasks/regression.py.
enum class Distribution { gaussian = 0, correlated = 1, sphere = 2, radial = 3 };

// A quantile function of the radius, tabulated at even steps of the normal
// score between -kReach and kReach, read by linear interpolation.
struct RadiusTable {
  static constexpr float kReach = 6.5f;
  const float* values;
  int64_t count;

  template <class V, class I>
  V operator()(const V& score) const {
    constexpr int lanes = sizeof(V) / sizeof(float);
    const V position = (score + kReach) * (static_cast<float>(count - 1) / (2 * kReach));
    const I whole = __builtin_convertvector(position, I);
    int32_t index[lanes];
    float low[lanes], high[lanes];
    store(index, whole);
    for (int i = 0; i < lanes; ++i) low[i] = values[index[i]];
    for (int i = 0; i < lanes; ++i) high[i] = values[index[i] + 1];
    const V below = load<V>(low), above = load<V>(high);
    return below + (position - __builtin_convertvector(whole, V)) * (above - below);
  }
};

// Draws the covariates of one lane group, point by point.
template <class F>
class Covariates {
 public:
  using Source = Normals<F>;
  using V = typename Source::V;

  Covariates(Distribution distribution, int dim, const float* factor, RadiusTable radius,
             const uint32_t* key, int first_prompt)
      : distribution_(distribution),
        dim_(dim),
        factor_(factor),
        radius_(radius),
        normals_(key, first_prompt) {}

  void next(V* x) {
    for (int i = 0; i < dim_; ++i) x[i] = normals_.next();
    if (distribution_ == Distribution::gaussian) return;
    if (distribution_ == Distribution::correlated) {
      for (int i = dim_ - 1; i >= 0; --i) {  // x = factor z, from the last row up, in place
        V sum = {};
        for (int j = 0; j <= i; ++j) sum += factor_[i * dim_ + j] * x[j];
        x[i] = sum;
      }
      return;
    }
    V square = {};
    for (int i = 0; i < dim_; ++i) square += x[i] * x[i];
    V scale = 1.0f / Source::square_root(square);
    if (distribution_ == Distribution::radial)
      scale *= radius_.template operator()<V, typename Source::I>(normals_.next());
    for (int i = 0; i < dim_; ++i) x[i] *= scale;
  }

 private:
  Distribution distribution_;
  int dim_;
  const float* factor_;
  RadiusTable radius_;
  Source normals_;
};

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

template <class F, int M>
void draw_group(Distribution distribution, int dim, int context, const float* factor,
                RadiusTable radius, const uint32_t* covariate_key, const uint32_t* weight_key,
                int64_t batch, int64_t first, F* gram, F* cross, F* square, F* query, F* target) {
  using V = Lanes<F>;
  using Single = LanesLike<F, float>;
  const int d = M > 0 ? M : dim;
  Frame frame;
  V *gram_sum = frame.zeros<V>(d * d), *cross_sum = frame.zeros<V>(d);
  V *weights = frame.take<V>(d), *x = frame.take<V>(d);
  Single* drawn = frame.take<Single>(d);

  Normals<F> weight_source(weight_key, static_cast<int>(first));
  for (int i = 0; i < d; ++i) weights[i] = __builtin_convertvector(weight_source.next(), V);
  V square_sum = {};
  Covariates<F> covariates(distribution, d, factor, radius, covariate_key, static_cast<int>(first));
  const auto draw = [&] {
    covariates.next(drawn);
    V y = {};
    for (int i = 0; i < d; ++i) {
      x[i] = __builtin_convertvector(drawn[i], V);
      y += weights[i] * x[i];
    }
    return y;
  };
  for (int point = 0; point < context; ++point) {
    const V y = draw();
    for (int i = 0; i < d; ++i) {
      for (int j = i; j < d; ++j) gram_sum[i * d + j] += x[i] * x[j];
      cross_sum[i] += x[i] * y;
    }
    square_sum += y * y;
  }
  const F weight = F{1} / static_cast<F>(context);
  for (int i = 0; i < d; ++i)
    for (int j = 0; j < d; ++j)
      put(gram, batch, i * d + j, first, V(gram_sum[i < j ? i * d + j : j * d + i] * weight));
  for (int i = 0; i < d; ++i) put(cross, batch, i, first, V(cross_sum[i] * weight));
  put(square, batch, 0, first, V(square_sum * weight));
  const V y = draw();
  for (int i = 0; i < d; ++i) put(query, batch, i, first, x[i]);
  put(target, batch, 0, first, y);
}

constexpr char kDistribution[] = "distribution", kContext[] = "context";

// Factor and table are zeros where the distribution does not use them.
template <class F>
ffi::Error moments_handler(Threads pool, Input<uint32_t> covariate_key, Input<uint32_t> weight_key,
                           Input<float> factor, Input<float> table, Output<F> gram, Output<F> cross,
                           Output<F> square, Output<F> query, Output<F> target,
                           Attribute<kDistribution> distribution, Attribute<kContext> context) {
  LeadingAxes axes;
  axes.join(covariate_key, 1);
  axes.join(weight_key, 1);
  const auto dims = gram->dimensions();
  const int64_t batch = dims.back();
  const int dim = static_cast<int>(dims[dims.size() - 2]);
  const Operand<uint32_t> covariate_keys(axes, covariate_key, 1), weight_keys(axes, weight_key, 1);
  const RadiusTable radius{table.typed_data(), static_cast<int64_t>(table.element_count())};
  constexpr int64_t kGroups = 4;  // lane groups a task draws
  const int64_t groups = (batch + kLanes<F> - 1) / kLanes<F>;
  const int64_t tasks = (groups + kGroups - 1) / kGroups;
  parallel_for(pool, axes.elements() * tasks, [&](int64_t task) {
    const int64_t element = task / tasks, start = (task % tasks) * kGroups;
    const int64_t offset = element * batch;
    const auto draw = dim == 5 ? draw_group<F, 5> : draw_group<F, 0>;
    for (int64_t group = start; group < std::min(start + kGroups, groups); ++group)
      draw(static_cast<Distribution>(*distribution), dim, *context, factor.typed_data(), radius,
           covariate_keys.at(element), weight_keys.at(element), batch, group * kLanes<F>,
           gram->typed_data() + offset * dim * dim, cross->typed_data() + offset * dim,
           square->typed_data() + offset, query->typed_data() + offset * dim,
           target->typed_data() + offset);
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
XLA_FFI_DEFINE_HANDLER_SYMBOL(attnscape_normals, attnscape::normals_handler);
