// Loops over numbered tasks, on the threads that XLA may use.
#pragma once

#include <cstdint>

#include "helpers.hpp"
#include "xla/ffi/api/ffi.h"

namespace attnscape {

// Calls task(i) for every i below `tasks`, on as many threads as XLA may use.
inline void parallel_for(const xla::ffi::ThreadPool& pool, int64_t tasks,
                         const Helpers::Task& task) {
  Helpers::instance().run(tasks, pool.num_threads(), task);
}

}  // namespace attnscape
