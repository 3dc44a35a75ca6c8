// Runs numbered tasks on threads that stay awake between calls. A training
// step asks for a few dozen microseconds of work at a time; waking a sleeping
// thread takes as long, so helpers look for new work a while before they sleep.
// Which thread runs a task never changes what the task computes: results do not
// depend on the number of threads.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "function_ref.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace attnscape {

class Helpers {
 public:
  // The process's helpers. They are never joined: a process may end while they
  // sleep, and then nothing of theirs may be torn down under them.
  static Helpers& instance() {
    static Helpers* helpers = new Helpers;
    return *helpers;
  }

  using Task = FunctionRef<void(int64_t)>;

  // Calls task(i) for every i below `tasks`, on at most `threads` threads, and
  // returns when all are done.
  void run(int64_t tasks, int64_t threads, const Task& task) {
    threads /= callers_.load(std::memory_order_relaxed);
    const std::unique_lock<std::mutex> busy(one_job_, std::try_to_lock);
    if (tasks < 2 || threads < 2 || !busy.owns_lock()) {
      for (int64_t i = 0; i < tasks; ++i) task(i);
      return;
    }
    while (static_cast<int64_t>(workers_) < threads - 1) {
      std::thread([this, index = workers_] { serve(index); }).detach();
      ++workers_;
    }
    task_.store(&task, std::memory_order_relaxed);
    tasks_.store(tasks, std::memory_order_relaxed);
    wanted_.store(static_cast<int>(std::min(threads, tasks) - 1), std::memory_order_relaxed);
    finished_.store(0, std::memory_order_relaxed);
    const uint64_t generation = (ticket_.load(std::memory_order_relaxed) >> kIndexBits) + 1;
    ticket_.store(generation << kIndexBits);
    if (asleep_.load() > 0) {
      const std::lock_guard<std::mutex> lock(sleep_);
      wake_.notify_all();
    }
    work(generation);
    while (finished_.load(std::memory_order_acquire) < tasks) pause();
  }

  // From now on, so many more threads (fewer, if negative) call kernels at the
  // same time, and share the threads that XLA may use.
  void add_callers(int64_t more) { callers_.fetch_add(more, std::memory_order_relaxed); }

 private:
  static constexpr int kIndexBits = 32;
  static constexpr auto kPatience = std::chrono::microseconds(200);

  // Takes tasks of job `generation` until none is left. The ticket holds job
  // and next task in one word: a helper that comes late to a finished job can
  // never take a task of the following one by mistake.
  void work(uint64_t generation) {
    uint64_t ticket = ticket_.load();
    while (ticket >> kIndexBits == generation) {
      const Task* task = task_.load(std::memory_order_relaxed);
      const int64_t index = static_cast<int64_t>(ticket & ((uint64_t{1} << kIndexBits) - 1));
      if (index >= tasks_.load(std::memory_order_relaxed)) return;
      if (ticket_.compare_exchange_weak(ticket, ticket + 1)) {
        (*task)(index);
        finished_.fetch_add(1, std::memory_order_release);
        ticket = ticket_.load();
      }
    }
  }

  [[noreturn]] void serve(int index) {
    uint64_t seen = 0;
    for (;;) {
      const auto start = std::chrono::steady_clock::now();
      while (ticket_.load() >> kIndexBits == seen) {
        for (int i = 0; i < 16; ++i) pause();
        if (std::chrono::steady_clock::now() - start < kPatience) continue;
        std::unique_lock<std::mutex> lock(sleep_);
        asleep_.fetch_add(1);
        wake_.wait(lock, [&] { return ticket_.load() >> kIndexBits != seen; });
        asleep_.fetch_sub(1);
      }
      seen = ticket_.load() >> kIndexBits;
      if (index < wanted_.load(std::memory_order_relaxed)) work(seen);
    }
  }

  static void pause() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  std::mutex one_job_;
  int workers_ = 0;
  std::atomic<int64_t> callers_{1};
  std::atomic<const Task*> task_{nullptr};
  std::atomic<int64_t> tasks_{0};
  std::atomic<int64_t> finished_{0};
  std::atomic<int> wanted_{0};
  std::atomic<uint64_t> ticket_{0};
  std::mutex sleep_;
  std::condition_variable wake_;
  std::atomic<int> asleep_{0};
};

}  // namespace attnscape
