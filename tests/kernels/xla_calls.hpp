// A call of one of the kernels' handlers as XLA makes it, without XLA: arrays, attributes and a
// number of threads in, arrays out. For programs that look at the kernels from outside of Python.
#pragma once

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "xla/ffi/api/c_api.h"

using Dims = std::vector<int64_t>;
inline constexpr int kRadii = 2 * ((32 << 9) + 2);  // entries of a table of the radius
using Handler = XLA_FFI_Error* (*)(XLA_FFI_CallFrame*);

[[noreturn]] inline void fail(const std::string& words) {
  std::fprintf(stderr, "%s\n", words.c_str());
  std::exit(1);
}

inline int64_t product(const Dims& dims) {
  int64_t product = 1;
  for (const int64_t n : dims) product *= n;
  return product;
}

// An array in memory of exactly its size.
struct Array {
  XLA_FFI_DataType type;
  Dims dims;
  std::vector<unsigned char> bytes;

  Array(XLA_FFI_DataType type, const Dims& dims)
      : type(type), dims(dims), bytes(product(dims) * (type == XLA_FFI_DataType_F64 ? 8 : 4)) {}
};

// Random numbers below 0.6 in size.
inline void fill(Array& array, std::mt19937& engine) {
  std::uniform_real_distribution<double> number(-0.6, 0.6);
  for (int64_t i = 0; i < product(array.dims); ++i) {
    const double wide = number(engine);
    const float narrow = static_cast<float>(wide);
    if (array.type == XLA_FFI_DataType_F64) {
      std::memcpy(&array.bytes[8 * i], &wide, 8);
    } else {
      std::memcpy(&array.bytes[4 * i], &narrow, 4);
    }
  }
}

// What a handler asks XLA for: the number of threads, which is all that the context holds.
struct XLA {
  XLA() {
    api.struct_size = XLA_FFI_Api_STRUCT_SIZE;
    api.api_version = {XLA_FFI_Api_Version_STRUCT_SIZE, nullptr, XLA_FFI_API_MAJOR,
                       XLA_FFI_API_MINOR};
    api.XLA_FFI_Error_Create = [](XLA_FFI_Error_Create_Args* args) -> XLA_FFI_Error* {
      fail(std::string("a handler refuses its call: ") + args->message);
    };
    api.XLA_FFI_ThreadPool_NumThreads =
        [](XLA_FFI_ThreadPool_NumThreads_Args* args) -> XLA_FFI_Error* {
      *args->num_threads = *reinterpret_cast<const int64_t*>(args->ctx);
      return nullptr;
    };
  }
  XLA_FFI_Api api = {};
};

inline const XLA kXla;

struct Attribute {
  const char* name;
  int32_t value;
};

// One call: arguments with leading axes, and the shapes of the results behind those axes.
struct Call {
  std::string name;
  std::vector<Array> arguments;
  std::vector<std::pair<XLA_FFI_DataType, Dims>> results;
  std::vector<Attribute> attributes;  // in the order of their names
  Dims leading;                       // what the leading axes broadcast to: the runs
};

inline const unsigned char kUnwritten[8] = {0xAB, 0xAB, 0xAB, 0xAB, 0xAB, 0xAB, 0xAB, 0xAB};

inline std::vector<XLA_FFI_Buffer> buffers_of(std::vector<Array>& arrays) {
  std::vector<XLA_FFI_Buffer> buffers;
  for (Array& each : arrays)
    buffers.push_back({XLA_FFI_Buffer_STRUCT_SIZE, nullptr, each.type, each.bytes.data(),
                       static_cast<int64_t>(each.dims.size()), each.dims.data()});
  return buffers;
}

template <class Element>
std::vector<void*> addresses(std::vector<Element>& elements) {
  std::vector<void*> result;
  for (Element& each : elements) result.push_back(&each);
  return result;
}

inline std::vector<Array> run(void* kernels, Call& call, int64_t threads) {
  const auto handler =
      reinterpret_cast<Handler>(dlsym(kernels, ("attnscape_" + call.name).c_str()));
  if (handler == nullptr) fail("the kernels have no handler " + call.name);
  std::vector<Array> results;
  for (const auto& [type, dims] : call.results) {
    Dims all = call.leading;
    all.insert(all.end(), dims.begin(), dims.end());
    results.emplace_back(type, all);
    std::fill(results.back().bytes.begin(), results.back().bytes.end(), kUnwritten[0]);
  }
  auto inputs = buffers_of(call.arguments), outputs = buffers_of(results);
  auto arguments = addresses(inputs), returned = addresses(outputs);
  std::vector<XLA_FFI_ArgType> argument_types(inputs.size(), XLA_FFI_ArgType_BUFFER);
  std::vector<XLA_FFI_RetType> result_types(outputs.size(), XLA_FFI_RetType_BUFFER);
  std::vector<XLA_FFI_AttrType> attribute_types(call.attributes.size(), XLA_FFI_AttrType_SCALAR);
  std::vector<XLA_FFI_Scalar> scalars;
  std::vector<XLA_FFI_ByteSpan> spans;
  for (Attribute& each : call.attributes) {
    scalars.push_back({XLA_FFI_DataType_S32, &each.value});
    spans.push_back({each.name, std::strlen(each.name)});
  }
  auto values = addresses(scalars);
  std::vector<XLA_FFI_ByteSpan*> names;
  for (XLA_FFI_ByteSpan& each : spans) names.push_back(&each);

  XLA_FFI_CallFrame frame = {};
  frame.struct_size = XLA_FFI_CallFrame_STRUCT_SIZE;
  frame.api = &kXla.api;
  frame.ctx = reinterpret_cast<XLA_FFI_ExecutionContext*>(&threads);
  frame.stage = XLA_FFI_ExecutionStage_EXECUTE;
  frame.args = {XLA_FFI_Args_STRUCT_SIZE, nullptr, static_cast<int64_t>(arguments.size()),
                argument_types.data(), arguments.data()};
  frame.rets = {XLA_FFI_Rets_STRUCT_SIZE, nullptr, static_cast<int64_t>(returned.size()),
                result_types.data(), returned.data()};
  frame.attrs = {XLA_FFI_Attrs_STRUCT_SIZE, nullptr,      static_cast<int64_t>(values.size()),
                 attribute_types.data(),    names.data(), values.data()};
  if (handler(&frame) != nullptr) fail(call.name + " returned an error");
  return results;
}

inline void* open_kernels(const char* path) {
  void* kernels = dlopen(path, RTLD_NOW);
  if (kernels == nullptr) fail(dlerror());
  return kernels;
}
