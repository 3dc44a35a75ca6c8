// Memory for the numbers of a task, kept by each thread for its next task: fresh
// memory costs more (the system zeroes it) than the work that is done in it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

namespace attnscape {

// The memory of one thread, in blocks that are neither moved nor freed while it lives:
// pointers into them stay valid when more is needed.
struct Arena {
  // As wide as the widest register, and as a cache line.
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  struct Block {
    std::unique_ptr<Line[]> memory;
    int64_t lines;
  };
  // What is free: the rest of one block, and all blocks from `next` on.
  struct Rest {
    Line *begin, *end;
    size_t next;
  };

  static Arena& of_this_thread() {
    static thread_local Arena arena;
    return arena;
  }

  Line* take(int64_t lines) {
    while (lines > rest.end - rest.begin) use_next_block(lines);
    Line* taken = rest.begin;
    rest.begin += lines;
    return taken;
  }

  // A new block is twice as large as the one before it, so blocks stay few.
  void use_next_block(int64_t lines) {
    if (rest.next == blocks.size()) {
      constexpr int64_t kFirst = 1024;
      const int64_t size = std::max(lines, blocks.empty() ? kFirst : 2 * blocks.back().lines);
      blocks.push_back({std::unique_ptr<Line[]>(new Line[size]), size});
    }
    const Block& block = blocks[rest.next++];
    rest.begin = block.memory.get();
    rest.end = rest.begin + block.lines;
  }

  std::vector<Block> blocks;
  Rest rest = {};
};

// What is taken from a frame lives as long as the frame; any thread may use it. A thread
// may take only from its innermost frame: a function makes one for all that it needs,
// and hands it to constructors, which take at once.
class Frame {
 public:
  Frame() : arena_(Arena::of_this_thread()), start_(arena_.rest) {}
  ~Frame() {
    // The next frame may use the memory for numbers of another type. Compilers take
    // such accesses to be independent, but none may move across the end of a frame.
    asm volatile("" : : : "memory");
    arena_.rest = start_;
  }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;

  // Uninitialised memory for `count` numbers.
  template <class N>
  N* take(int64_t count) {
    static_assert(alignof(N) <= sizeof(Arena::Line) && std::is_trivially_destructible_v<N>);
    constexpr int64_t line = sizeof(Arena::Line);
    const int64_t bytes = count * static_cast<int64_t>(sizeof(N));
#if defined(ATTNSCAPE_SANITIZE)
    // In memory of its own, which ends where the numbers do and is freed with the frame.
    owned_.emplace_back(::operator new(bytes, std::align_val_t{line}));
    return static_cast<N*>(owned_.back().get());
#else
    return reinterpret_cast<N*>(arena_.take((bytes + line - 1) / line));
#endif
  }

  template <class N>
  N* zeros(int64_t count) {
    N* numbers = take<N>(count);
    std::fill_n(numbers, count, N{});
    return numbers;
  }

 private:
  Arena& arena_;
  const Arena::Rest start_;
#if defined(ATTNSCAPE_SANITIZE)
  struct Delete {
    void operator()(void* memory) const {
      ::operator delete(memory, std::align_val_t{sizeof(Arena::Line)});
    }
  };
  std::vector<std::unique_ptr<void, Delete>> owned_;
#endif
};

}  // namespace attnscape
