// An array argument with leading axes that broadcast: what `jax.vmap` makes of
// it (axes of size 1 for whatever is shared).
#pragma once

#include <cstdint>
#include <vector>

#include "handlers.hpp"

namespace attnscape {

// Leading axes of several arguments, and the axes they broadcast to.
class LeadingAxes {
 public:
  // `trailing` axes of `array` belong to one element.
  template <ffi::DataType type>
  void join(const ffi::Buffer<type>& array, int trailing) {
    const auto dims = array.dimensions();
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
  // For each element of the joint axes, its index in `array`.
  template <ffi::DataType type>
  std::vector<int64_t> indices(const ffi::Buffer<type>& array) const {
    const auto dims = array.dimensions();
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
  // `trailing` axes of `array` belong to one element.
  Operand(const LeadingAxes& axes, const Input<E>& array, int trailing)
      : data_(array.typed_data()) {
    const auto dims = array.dimensions();
    int64_t own = 1;  // elements
    for (auto n = dims.begin(); n != dims.end() - trailing; ++n) own *= *n;
    for (auto n = dims.end() - trailing; n != dims.end(); ++n) size_ *= *n;
    if (own == axes.elements()) {
      step_ = 1;
    } else if (own > 1) {
      index_ = axes.indices(array);
    }
  }
  int64_t size() const { return size_; }  // numbers of one element
  const E* at(int64_t element) const {
    return data_ + size_ * (index_.empty() ? step_ * element : index_[element]);
  }

 private:
  const E* data_;
  int64_t size_ = 1;
  int64_t step_ = 0;            // 0 if the elements share the array's only one
  std::vector<int64_t> index_;  // where some share and others do not
};

}  // namespace attnscape
