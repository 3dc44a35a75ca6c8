// Normal points of a prompt by Bartlett's decomposition (1933). The d x n matrix of n points
// N(0, I) is T O: T is lower triangular, d x r with r = min(d, n), with chi numbers of n, n - 1,
// ... degrees of freedom on its diagonal and normals below it; O has r orthonormal rows, uniform
// among all such matrices and independent of T. The moments depend on T alone, so only points as
// such need O. Noise is one more row of the matrix: its row of T has r normals, then the chi number
// of n - r degrees (none if n = r). tasks/_gaussian_points.py states the same in JAX, in the same
// numbers: T and the query of the covariates' key, O of a key of its own.
#pragma once

#include <algorithm>

#include "sampler.hpp"

namespace attnscape {

struct GaussianLaw {
  int dim, context;
  const float* factor;  // the lower Cholesky factor of the covariance; null for the identity
  const float* chi;     // row i: the polynomial of `chi` with n - i degrees of freedom
  int rank() const { return std::min(dim, context); }
};

// With few degrees of freedom the chi number is made of as many normals. With more it is its own
// quantile at one normal score, a polynomial fitted in tasks/chi.py, with the lowest power first.
inline constexpr int kFewDegrees = 7, kChiTerms = 17;

template <class F>
typename Normals<F>::V chi(Normals<F>& normals, int degrees, const float* terms) {
  using V = typename Normals<F>::V;
  if (degrees <= kFewDegrees) {
    V square = {};
    for (int i = 0; i < degrees; ++i) {
      const V z = normals.next();
      square += z * z;
    }
    return square_root<float>(square);
  }
  const V score = normals.next();
  V sum = V{} + terms[kChiTerms - 1];
#pragma GCC unroll 16
  for (int i = kChiTerms - 2; i >= 0; --i) sum = sum * score + terms[i];
  return sum;
}

template <class F, int together>
Lanes<F> next_normal(Normals<F, together>& normals) {
  return __builtin_convertvector(normals.next(), Lanes<F>);
}

// Row i of the triangle; row `dim` is that of the noise.
template <class F>
void draw_row(const GaussianLaw& law, int i, Normals<F>& normals, Lanes<F>* row) {
  for (int j = 0; j < std::min(i, law.context); ++j) row[j] = next_normal(normals);
  if (i < law.context)
    row[i] =
        __builtin_convertvector(chi(normals, law.context - i, law.chi + i * kChiTerms), Lanes<F>);
}

// Multiplies columns, each with zeros above row `column`, by the factor, in place.
template <class F>
void times_factor(const GaussianLaw& law, Lanes<F>* matrix, int columns, int stride) {
  if (law.factor == nullptr) return;
  for (int i = law.dim - 1; i >= 0; --i) {
    const float* factor = law.factor + i * law.dim;
    for (int j = 0; j < columns && j <= i; ++j) {
      Lanes<F> sum = {};
      for (int k = j; k <= i; ++k) sum += static_cast<F>(factor[k]) * matrix[k * stride + j];
      matrix[i * stride + j] = sum;
    }
  }
}

// The query (d numbers) and the triangle times the factor (d rows, `stride` apart).
template <class F>
void draw_triangle(const GaussianLaw& law, Normals<F>& normals, Lanes<F>* query, Lanes<F>* rows,
                   int stride) {
  for (int i = 0; i < law.dim; ++i) query[i] = next_normal(normals);
  times_factor<F>(law, query, 1, 1);
  for (int i = 0; i < law.dim; ++i) draw_row(law, i, normals, rows + i * stride);
  times_factor<F>(law, rows, law.rank(), stride);
}

// Multiplies rows, whose numbers before column k stay, by one factor of the frame: the matrix
// that takes e_k to a uniform direction x/|x| of the columns from k on. It is the reflection that
// takes e_k to -sign(x_k) x/|x|, after a change of e_k's sign. Products of these, from the last
// column to the first, are uniform among the orthogonal matrices (Stewart 1980).
template <class F>
void turn(Normals<F>& normals, int k, int context, Lanes<F>* rows, int count, Lanes<F>* x) {
  using V = Lanes<F>;
  V square = {};
  for (int j = k; j < context; ++j) {
    x[j] = next_normal(normals);
    square += x[j] * x[j];
  }
  const V norm = square_root<F>(square);
  const V sign = x[k] < 0 ? V{} - F{1} : V{} + F{1};
  x[k] += sign * norm;
  const V scale = F{1} / (norm * (sign * x[k]));
  for (int i = 0; i < count; ++i) {
    V* row = rows + i * context;
    row[k] *= -sign;
    V sum = {};
    for (int j = k; j < context; ++j) sum += row[j] * x[j];
    sum *= scale;
    for (int j = k; j < context; ++j) row[j] -= sum * x[j];
  }
}

// What is drawn of the points themselves, for one lane group.
template <class F>
struct GaussianPoints {
  Lanes<F>*rows, *query;         // row i has coordinate i of all points
  Lanes<F>*noise, target_noise;  // of standard deviation 1
};

// Without a noise key there is no noise.
template <class F>
GaussianPoints<F> draw_points(const GaussianLaw& law, const uint32_t* covariate_key,
                              const uint32_t* noise_key, const uint32_t* frame_key, int first,
                              Frame& frame) {
  using V = Lanes<F>;
  const int d = law.dim, n = law.context, r = law.rank();
  V* rows = frame.zeros<V>((d + 1) * n);
  GaussianPoints<F> points{rows, frame.take<V>(d), rows + d * n, {}};
  Normals<F> normals(covariate_key, first), turns(frame_key, first);
  draw_triangle(law, normals, points.query, rows, n);
  V* x = frame.take<V>(n);
  if (noise_key != nullptr) {
    Normals<F> noise(noise_key, first);
    points.target_noise = next_normal(noise);
    draw_row(law, d, noise, points.noise);
    if (d < n) turn(noise, d, n, points.noise, 1, x);  // of the noise's key: points do not see it
  }
  for (int k = r - 1; k >= 0; --k)  // rows above k are zero from column k on
    turn(turns, k, n, rows + k * n, d - k + (noise_key != nullptr), x);
  return points;
}

}  // namespace attnscape
