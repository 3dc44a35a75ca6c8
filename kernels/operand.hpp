// An array argument with leading axes that broadcast: what `jax.vmap` makes of
// it (axes of size 1 for whatever is shared).
#pragma once

#include <cstdint>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace attnscape {

namespace ffi = xla::ffi;

// Leading axes of several arguments, and the axes they broadcast to.
class LeadingAxes {
 public:
  // `trailing` axes of `buffer` belong to one element.
  void join(const ffi::AnyBuffer& buffer, int trailing) {
    const auto dims = buffer.dimensions();
    const int count = static_cast<int>(dims.size()) - trailing;
    if (axes_.empty()) axes_.assign(count, 1);
    for (int i = 0; i < count; ++i)
      if (dims[i] != 1) axes_[i] = dims[i];  // 0 too: then nothing is computed
  }
  int64_t elements() const {
    int64_t product = 1;
    for (const int64_t n : axes_) product *= n;
    return product;
  }
  // For each element of the joint axes, its index in `buffer`.
  std::vector<int64_t> indices(const ffi::AnyBuffer& buffer) const {
    const auto dims = buffer.dimensions();
    std::vector<int64_t> result(elements());
    for (int64_t element = 0; element < elements(); ++element) {
      int64_t rest = element, index = 0, stride = 1;
      for (int i = static_cast<int>(axes_.size()) - 1; i >= 0; --i) {
        const int64_t position = rest % axes_[i];
        rest /= axes_[i];
        if (dims[i] > 1) index += position * stride;
        stride *= dims[i];
      }
      result[element] = index;
    }
    return result;
  }

 private:
  std::vector<int64_t> axes_;
};

// One array argument: data of element `e` of the joint axes.
template <class E>
class Operand {
 public:
  Operand(const LeadingAxes& axes, const ffi::AnyBuffer& buffer, int64_t element_size)
      : data_(buffer.typed_data<E>()), size_(element_size), index_(axes.indices(buffer)) {}
  const E* at(int64_t element) const { return data_ + size_ * index_[element]; }

 private:
  const E* data_;
  int64_t size_;
  std::vector<int64_t> index_;
};

}  // namespace attnscape
