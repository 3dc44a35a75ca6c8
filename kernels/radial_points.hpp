// Points of a uniform direction and an independent radius. Of the squared length of a uniform
// direction in m dimensions, the first two coordinates leave to the others the share
// U^(2 / (m - 2)), U uniform; their own direction is a uniform angle. So two words, one output of
// Threefry, make two coordinates, without normals and their norm; an odd last one has the lowest
// bit of the last share as its sign. One output more makes the radii of two points: their counters
// start at kRadii. tasks/_radial_points.py states the same in JAX.
#pragma once

#include "functions.hpp"
#include "sampler.hpp"

namespace attnscape {

// Quantiles of a radius, in its upper tail and then in its lower one: at the float32 numbers from
// 2^-33 to 1/2 whose mantissas have kBits bits. Read by linear interpolation.
struct RadiusTable {
  static constexpr int kBits = 9, kOctaves = 32, kOfTail = (kOctaves << kBits) + 2;
  static constexpr int kRest = 23 - kBits;  // bits of a float32's mantissa that no entry has
  static constexpr int32_t kFirst = (127 - 33) << 23;  // 2^-33

  const float* values;  // null where the radius is 1

  template <class F>
  typename OfWords<F>::V of(const typename OfWords<F>::U& word) const {
    using W = OfWords<F>;
    using V = typename W::V;
    using I = typename W::I;
    const V p = W::tail_probability(word);
    const I bits = load<I>(&p) - kFirst;
    const I lower = -__builtin_convertvector(word & 1, I);
    const I index = (bits >> kRest) + (lower & kOfTail);
    const auto [below, above] = gather_neighbours<V>(values, index);
    const V part = __builtin_convertvector(I(bits & ((1 << kRest) - 1)), V) * (1.0f / (1 << kRest));
    return below + part * (above - below);
  }
};

// sin(x) / x and cos(x) as polynomials in x^2 where |x| <= pi/2: minimax fits of error 4e-9 and
// 5e-8.
inline constexpr float kSine[] = {1.0f, -0.166666478f, 0.00833289977f, -0.000198008755f,
                                  2.59045191e-06f};
inline constexpr float kCosine[] = {0.99999994f, -0.499999046f, 0.0416635871f, -0.00138537108f,
                                    2.31540453e-05f};

// Draws points of one lane group, in turn; M is their dimension if positive.
template <class F, int M>
class RadialPoints : OfWords<F> {
 public:
  using typename OfWords<F>::V;
  using typename OfWords<F>::U;
  using typename OfWords<F>::I;

  RadialPoints(RadiusTable radius, const uint32_t* key, int first_prompt)
      : radius_(radius), words_(key, first_prompt) {}

  // The next point, or after an even number of points the next two; `d` numbers each.
  template <int points>
  inline __attribute__((always_inline)) void next(int d, V* x) {
    constexpr uint32_t together = M > 1 ? M / 2 : 1;  // pairs of words at once
    const uint32_t pairs = M > 1 ? together : std::max(d / 2, 1);
    V length[points];  // of the coordinates that are left
    radii(length);
    U split[points * together], angle[points * together];
#pragma GCC unroll 2
    for (uint32_t pair = 0; pair < pairs; ++pair) {
      const uint32_t j = pair % together;
      const int left = d - 2 * static_cast<int>(pair);
      if (j == 0) words_(point_ * pairs + pair, together > 1 ? 1 : pairs, split, angle);
      for (uint32_t k = 0; k < points && left > 1; ++k)
        to_angle(angle[k * together + j],
                 left > 2 ? shared(split[k * together + j], left - 2, length[k]) : length[k],
                 x + k * d + d - left);
    }
    point_ += points;
    for (uint32_t k = 0; k < points && d % 2 == 1; ++k)
      x[k * d + d - 1] = this->signed_by(split[k * together + together - 1], length[k]);
  }

 private:
  template <int points>
  void radii(V (&length)[points]) {
    std::fill_n(length, points, V{} + 1.0f);
    if (radius_.values == nullptr) return;
    U words[2][1];
    words_(kRadii + point_ / 2, 0, words[0], words[1]);
    for (int k = 0; k < points; ++k) length[k] = radius_.of<F>(words[(point_ + k) % 2][0]);
  }

  // The length of two coordinates of a vector; `length` becomes that of the others.
  static V shared(const U& word, int others, V& length) {
    const V half = OfWords<F>::tail_probability(word), u = half + half;
    const V share = root(u, others), squared = share * share;
    V sum = V{} + 1.0f;  // 1 - squared = (1 - u^2) / (1 + squared + squared^2 + ...)
    for (int i = 1; i < others; ++i) sum = sum * squared + 1.0f;
    const V two = length * square_root<float>(V((1.0f - u) * (1.0f + u) / sum));
    length *= share;
    return two;
  }

  // For 0 < v <= 1.
  static V root(const V& v, int degree) {
    if (degree == 1) return v;
    if (degree == 2) return square_root<float>(v);
    if (degree == 3) return cube_root(v);
    return exponential_of<float>(V(OfWords<F>::logarithm(v) * (1.0f / static_cast<float>(degree))));
  }

  // By 1 / v^(1/3): a third of the bits is within 4 % of it, and each step cubes the error without
  // a division.
  static V cube_root(const V& v) {
    const I third =
        __builtin_convertvector(__builtin_convertvector(load<I>(&v), V) * (1.0f / 3), I);
    const I start = 0x54a23300 - third;
    V inverse = load<V>(&start);
    for (int i = 0; i < 2; ++i) {
      const V rest = 1.0f - (v * inverse) * (inverse * inverse);
      inverse += (inverse * rest) * (rest * (2.0f / 9) + 1.0f / 3);
    }
    return v * (inverse * inverse);
  }

  static void to_angle(const U& word, const V& length, V* x) {
    const V angle = __builtin_convertvector(load<I>(&word) >> 1, V) * (1.57079633f * 0x1p-30f);
    const V square = angle * angle;
    x[0] = length * OfWords<F>::signed_by(word, polynomial(square, kCosine));
    x[1] = length * (angle * polynomial(square, kSine));
  }

  static constexpr uint32_t kRadii = 1u << 31;
  RadiusTable radius_;
  Threefry<F> words_;
  uint32_t point_ = 0;
};

}  // namespace attnscape
