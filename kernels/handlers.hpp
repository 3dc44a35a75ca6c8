// What XLA FFI handlers share: the types of their parameters. A handler takes `Threads`,
// then arrays in (`Input`), arrays out (`Output`), and attributes (`Attribute`). XLA's
// header binds it by this signature alone, and every call is checked against it: how many
// arrays there are, and their types. Shapes are not checked again: Python has done that.
#pragma once

#include <cstdint>
#include <type_traits>

#include "xla/ffi/api/ffi.h"

namespace attnscape {

namespace ffi = xla::ffi;

// XLA's name of an array's element type.
template <class E>
struct DataTypeOf;
template <>
struct DataTypeOf<float> : std::integral_constant<ffi::DataType, ffi::F32> {};
template <>
struct DataTypeOf<double> : std::integral_constant<ffi::DataType, ffi::F64> {};
template <>
struct DataTypeOf<uint32_t> : std::integral_constant<ffi::DataType, ffi::U32> {};

template <class E>
using Input = ffi::Buffer<DataTypeOf<E>::value>;
template <class E>
using Output = ffi::ResultBuffer<DataTypeOf<E>::value>;

// An integer attribute. Only a variable can be the name that a type carries.
template <const char* name>
using Attribute = ffi::Attr<int32_t, name>;
inline constexpr char kForm[] = "form";

// XLA's thread pool, as a type of our own: XLA's header cannot bind its own by a
// signature, and once it can, ours must not collide with it.
struct Threads : ffi::ThreadPool {
  Threads(const ffi::ThreadPool& pool) : ffi::ThreadPool(pool) {}
};

}  // namespace attnscape

template <>
struct xla::ffi::CtxBinding<attnscape::Threads> {
  using Ctx = xla::ffi::ThreadPool;
};
