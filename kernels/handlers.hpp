// What XLA FFI handlers share: names for their arguments, and their signature.
#pragma once

#include <utility>

#include "xla/ffi/api/ffi.h"

namespace attnscape {

namespace ffi = xla::ffi;

using Buffer = ffi::AnyBuffer;
using Result = ffi::Result<ffi::AnyBuffer>;

template <int count, class Binding>
auto with_arguments(Binding&& binding) {
  if constexpr (count == 1) {
    return std::move(binding).template Arg<Buffer>();
  } else {
    return with_arguments<count - 1>(std::move(binding).template Arg<Buffer>());
  }
}

template <int count, class Binding>
auto with_results(Binding&& binding) {
  if constexpr (count == 1) {
    return std::move(binding).template Ret<Buffer>();
  } else {
    return with_results<count - 1>(std::move(binding).template Ret<Buffer>());
  }
}

// A handler that takes XLA's thread pool, then arrays in, then arrays out.
template <int arguments, int results>
auto signature() {
  return with_results<results>(with_arguments<arguments>(ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()));
}

}  // namespace attnscape
