// What the machine can do, and what the kernels ask of it: plain C functions,
// called by attnscape.native through ctypes.

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "helpers.hpp"
#include "reduced_form.hpp"

namespace attnscape {
namespace {

// Fused multiply-adds on independent registers: as many operations a second as
// a kernel could reach if it never waited for memory or for a result.
template <class F>
double multiply_add_rate(double seconds) {
  using V = Lanes<F>;
  constexpr int kChains = 12, kRounds = 20000;
  V chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = V{} + static_cast<F>(i);
  V factor = V{} + static_cast<F>(0.999), term = V{} + static_cast<F>(0.001);
  asm volatile("" : : "g"(&factor), "g"(&term) : "memory");
  double best = 0;
  const auto start = std::chrono::steady_clock::now();
  do {
    const auto before = std::chrono::steady_clock::now();
    for (int round = 0; round < kRounds; ++round) {
#pragma GCC unroll 12
      for (int i = 0; i < kChains; ++i) chains[i] = chains[i] * factor + term;
    }
    asm volatile("" : : "g"(&chains) : "memory");
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - before;
    best = std::max(best, 2.0 * kRounds * kChains * kLanes<F> / spent.count());
  } while (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() <
           seconds);
  return best;
}

template <class F>
double peak(int threads, double seconds) {
  std::vector<double> rates(threads);
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; ++i)
    workers.emplace_back([&, i] { rates[i] = multiply_add_rate<F>(seconds); });
  double sum = 0;
  for (int i = 0; i < threads; ++i) {
    workers[i].join();
    sum += rates[i];
  }
  return sum;
}

// Operations of the reduced form on one prompt, with the types that the kernels
// give it: N is Counted for loss and gradient, Dual<Counted> for a
// Hessian-vector product, whose moments are plain and whose sums are tangents.
template <class N, Form form>
int64_t count_operations(int size, int layers) {
  const int64_t parameters = 2 * static_cast<int64_t>(layers) * size * size;
  using Sum = SumOf<N, Counted>;
  Frame frame;
  N* point = frame.take<N>(parameters);
  Sum* gradient = frame.take<Sum>(parameters);
  Counted *gram = frame.take<Counted>(size * size), *vector = frame.take<Counted>(size);
  ReducedForm<form, 0, N, N, Counted, Sum> reduced(size, layers, point, point + parameters / 2,
                                                   frame);
  N loss;
  Counted::operations = 0;
  reduced.add({gram, vector, vector, Counted{}}, loss, gradient, gradient + parameters / 2);
  return Counted::operations;
}

template <class N>
int64_t count_operations(int form, int size, int layers) {
  return form == static_cast<int>(Form::full) ? count_operations<N, Form::full>(size, layers)
                                              : count_operations<N, Form::block>(size, layers);
}

}  // namespace
}  // namespace attnscape

extern "C" {

// Floating-point operations a second on `threads` threads at once.
double attnscape_peak(int bytes, int threads, double seconds) {
  return bytes == 8 ? attnscape::peak<double>(threads, seconds)
                    : attnscape::peak<float>(threads, seconds);
}

// Floating-point operations of loss and gradient for one prompt.
int64_t attnscape_gradient_operations(int form, int size, int layers) {
  return attnscape::count_operations<attnscape::Counted>(form, size, layers);
}

// Floating-point operations of a Hessian-vector product for one prompt.
int64_t attnscape_hvp_operations(int form, int size, int layers) {
  return attnscape::count_operations<attnscape::Dual<attnscape::Counted>>(form, size, layers);
}

// From now on, so many more threads call kernels at the same time.
void attnscape_add_callers(int more) { attnscape::Helpers::instance().add_callers(more); }

// The best of the instruction sets that processor and system have, numbered as in native/_build.py.
int attnscape_best_instruction_set() {
#if defined(__x86_64__)
  const auto all = [](auto... has) { return (... && (has != 0)); };
  if (!all(__builtin_cpu_supports("avx2"), __builtin_cpu_supports("fma"),
           __builtin_cpu_supports("bmi"), __builtin_cpu_supports("bmi2")))
    return 0;
  return all(__builtin_cpu_supports("avx512f"), __builtin_cpu_supports("avx512cd"),
             __builtin_cpu_supports("avx512bw"), __builtin_cpu_supports("avx512dq"),
             __builtin_cpu_supports("avx512vl"))
             ? 2
             : 1;
#else
  return 0;
#endif
}

// The one that this module was built for.
int attnscape_instruction_set() {
#if defined(__AVX512F__)
  return 2;
#elif defined(__AVX2__)
  return 1;
#else
  return 0;
#endif
}

// Whether a product and the sum it goes into are rounded once, not twice.
int attnscape_fuses() {
#if defined(__FMA__) || defined(__aarch64__)
  return 1;
#else
  return 0;
#endif
}
}
