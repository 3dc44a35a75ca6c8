// What the kernels ask of XLA's foreign function interface, for a machine with one thread and
// arrays that somebody else owns. It stands in the place of XLA's own header, so that the kernels
// compile for WebAssembly as they are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace xla::ffi {

enum DataType { F32, F64, U32 };

template <DataType type>
struct NativeOf;
template <>
struct NativeOf<F32> {
  using Type = float;
};
template <>
struct NativeOf<F64> {
  using Type = double;
};
template <>
struct NativeOf<U32> {
  using Type = uint32_t;
};

template <DataType type>
class Buffer {
 public:
  using Number = typename NativeOf<type>::Type;
  Buffer(const Number* data, std::vector<int64_t> dims)
      : data_(const_cast<Number*>(data)), dims_(static_cast<std::vector<int64_t>&&>(dims)) {}

  Number* typed_data() const { return data_; }
  const std::vector<int64_t>& dimensions() const { return dims_; }
  size_t element_count() const {
    size_t product = 1;
    for (const int64_t n : dims_) product *= static_cast<size_t>(n);
    return product;
  }

 private:
  Number* data_;
  std::vector<int64_t> dims_;
};

template <DataType type>
class ResultBuffer : public Buffer<type> {
 public:
  using Buffer<type>::Buffer;
  const Buffer<type>* operator->() const { return this; }
};

template <class T, const char* name>
struct Attr {
  T value;
  const T& operator*() const { return value; }
};

struct Error {
  static Error Success() { return {}; }
};

struct ThreadPool {
  int64_t num_threads() const { return 1; }
};

template <class T>
struct CtxBinding;

}  // namespace xla::ffi

#define XLA_FFI_DEFINE_HANDLER_SYMBOL(name, handler) static_assert(true)
