// Sums over a batch of prompts: in floating type F within a chunk, then in double
// over the chunks, in their order. A chunk is one task for the threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <new>

#include "arena.hpp"
#include "function_ref.hpp"
#include "lanes.hpp"
#include "parallel.hpp"

namespace attnscape {

// Prompts that are summed in F before the sum goes on in double. Fixed, and a
// multiple of every lane count, so that results do not depend on the machine's
// number of threads.
inline constexpr int kChunk = 128;

// At least one, so that an empty batch has a loss (NaN) too.
inline int64_t chunk_count(int batch) { return std::max((batch + kChunk - 1) / kChunk, 1); }

// Where loops over the prompts up to `last` end: all lanes take part in the last round, on
// every instruction set, as infinite weights make NaN of lanes without a prompt.
template <class F>
int end_of_lanes(int last) {
  return (last + kAllLanes<F> - 1) / kAllLanes<F> * kAllLanes<F>;
}

// Calls add_part(part, first, end) for each of the parts that all lanes consist of: it takes
// the prompts first, first + kAllLanes, ... below `end`, and those that follow each of them.
template <class F, class AddPart>
void over_parts(int first, int last, const AddPart& add_part) {
  for (int part = 0; part < kParts; ++part)
    add_part(part, first + part * kLanes<F>, end_of_lanes<F>(last));
}

// The mean over the batch of `count` numbers, from their sums.
template <class F>
void mean_of_sums(const double* sums, int64_t count, int batch, F* result) {
  for (int64_t i = 0; i < count; ++i) result[i] = static_cast<F>(sums[i] / batch);
}

// Splits every run into chunks of prompts, lets `one_chunk(run, first, last, sums)`
// write `width` sums for each, and `finish(run, sums)` end the run: with the sums of
// its chunks, added in their order.
inline void over_chunks(const xla::ffi::ThreadPool& pool, int64_t runs, int batch, int64_t width,
                        FunctionRef<void(int64_t run, int first, int last, double* sums)> one_chunk,
                        FunctionRef<void(int64_t run, const double* sums)> finish) {
  const int64_t chunks = chunk_count(batch);
  Frame frame;
  double* sums = frame.take<double>(runs * chunks * width);
  auto* open = frame.take<std::atomic<int64_t>>(runs);
  for (int64_t run = 0; run < runs; ++run) new (open + run) std::atomic<int64_t>(chunks);
  parallel_for(pool, runs * chunks, [&](int64_t task) {
    const int64_t run = task / chunks, chunk = task % chunks;
    const int first = static_cast<int>(chunk * kChunk);
    const int last = std::min(first + kChunk, batch);
    one_chunk(run, first, last, sums + task * width);
    if (open[run].fetch_sub(1) > 1) return;
    double* total = sums + run * chunks * width;
    for (int64_t other = 1; other < chunks; ++other)
      for (int64_t i = 0; i < width; ++i) total[i] += total[other * width + i];
    finish(run, total);
  });
}

}  // namespace attnscape
