// Calls every XLA FFI handler of the kernels as XLA does, at random sizes, and holds the results
// against each other. Made for builds with sanitizers: every array lies in memory of its own that
// ends where the array ends, so that a number read or written beside it is noticed.
//
//   random_calls KERNELS.so SEED CASES [OTHER.so]
//
// Properties, to the last bit: results do not depend on the number of threads, nor on who else
// calls at the same time; a run in company has the numbers of a run alone; every number of a result
// is written; the other kernels, if they are given, compute the same numbers.

#include <thread>

#include "xla_calls.hpp"

namespace {

// The call for one run of several.
Call alone(const Call& call, int64_t element) {
  Call one = call;
  one.leading.assign(call.leading.size(), 1);
  for (size_t i = 0; i < call.arguments.size(); ++i) {
    const Array& whole = call.arguments[i];
    Dims dims = whole.dims;
    int64_t rest = element, index = 0, stride = 1;
    for (int axis = static_cast<int>(call.leading.size()) - 1; axis >= 0; --axis) {
      const int64_t position = rest % call.leading[axis];
      rest /= call.leading[axis];
      if (dims[axis] > 1) index += position * stride;
      stride *= dims[axis];
      dims[axis] = 1;
    }
    Array part(whole.type, dims);
    std::copy_n(whole.bytes.begin() + index * part.bytes.size(), part.bytes.size(),
                part.bytes.begin());
    one.arguments[i] = part;
  }
  return one;
}

class Generator {
 public:
  explicit Generator(unsigned seed) : engine_(seed) {}

  // A call of any handler.
  Call call() {
    double_ = below(2);
    call_ = Call();
    call_.leading.assign(below(3), 1);
    for (int64_t& n : call_.leading) n = below(12) ? between(1, 3) : 0;
    switch (below(10)) {
      case 0:
        moments();
        break;
      case 8:
        points();
        break;
      case 9:
        radial_points();
        break;
      case 1:
        normals();
        break;
      case 2:
      case 3:
        attention();
        break;
      case 4:
        mlp_attention();
        break;
      default:
        reduced_form();
    }
    return call_;
  }

 private:
  int below(int end) { return static_cast<int>(engine_() % end); }
  int between(int first, int last) { return first + below(last - first + 1); }

  // Around the widths of registers and chunks, where loops end.
  int batch_size() {
    const int widths[] = {1, 2, 4, 8, 16, 128, 256};
    return below(20) ? std::max(1, widths[below(7)] + between(-2, 2)) : 0;
  }

  void reduced_form() {
    const int form = below(2), d = between(1, 7), m = d + form, batch = batch_size();
    const Dims weights = {between(1, 3), m, m};
    const int kind = below(3);
    const char* kinds[] = {"gradient", "hvp", "hessian"};
    name(kinds[kind]);
    for (int i = 0; i < (kind == 1 ? 4 : 2); ++i) argument(weights);
    for (const Dims& dims : {Dims{d, d, batch}, {d, batch}, {batch}, {d, batch}, {batch}})
      argument(dims);
    if (kind == 2) {
      result({2 * product(weights), 2 * product(weights)});
    } else {
      if (kind == 0) result({});
      for (int i = 0; i < 2; ++i) result(weights);
    }
    call_.attributes = {{"form", form}};
  }

  void attention() {
    const int form = below(2), d = between(1, 7), m = d + form;
    const Dims weights = {between(1, 3), m, m};
    const bool gradient = below(2);
    name(gradient ? "attention_gradient" : "attention_hvp");
    for (int i = 0; i < (gradient ? 2 : 4); ++i) argument(weights);
    prompts(between(1, 9), d);
    if (gradient) result({});
    for (int i = 0; i < 2; ++i) result(weights);
    call_.attributes = {{"activation", below(3)}, {"form", form}};
  }

  void mlp_attention() {
    const int form = below(2), d = between(1, 7), m = d + form, hidden = between(1, 9);
    const Dims square = {between(1, 3), m, m};
    const Dims weights[] = {square, square, {hidden, d}, {hidden}, {d, hidden}, {d}};
    const bool gradient = below(2);
    name(gradient ? "mlp_attention_gradient" : "mlp_attention_hvp");
    for (int i = 0; i < (gradient ? 1 : 2); ++i)
      for (const Dims& dims : weights) argument(dims);
    prompts(between(1, 9), d);
    if (gradient) result({});
    for (const Dims& dims : weights) result(dims);
    call_.attributes = {{"form", form}};
  }

  void moments() {
    const int d = between(1, 7), batch = batch_size(), distribution = below(4);
    name("moments");
    for (int i = 0; i < 3; ++i) key();
    const Dims shared(call_.leading.size(), 1);
    fill(add(XLA_FFI_DataType_F32, shared, distribution == 1 ? Dims{d, d} : Dims{2}), engine_);
    const Dims radii = {distribution == 3 ? kRadii : 2};
    fill(add(XLA_FFI_DataType_F32, shared, distribution < 2 ? Dims{d + 1, 17} : radii), engine_);
    Array& noise = add(type(), shared, {});
    if (below(2)) fill(noise, engine_);
    for (const Dims& dims : {Dims{d, d, batch}, {d, batch}, {batch}, {d, batch}, {batch}})
      result(dims);
    call_.attributes = {{"context", between(1, 30)}, {"distribution", distribution}};
  }

  void points() {
    const int d = between(1, 7), n = between(1, 30), batch = batch_size();
    name("points");
    for (int i = 0; i < 3; ++i) key();
    const Dims shared(call_.leading.size(), 1);
    for (const Dims& dims : {Dims{d, d}, {d + 1, 17}})
      fill(add(XLA_FFI_DataType_F32, shared, dims), engine_);
    result({n + 1, d, batch});
    result({below(2) ? n + 1 : 0, batch});
  }

  void radial_points() {
    const int d = between(1, 9), n = between(1, 30), batch = batch_size();
    call_.name = "radial_points";
    double_ = false;
    key();
    const Dims shared(call_.leading.size(), 1);
    fill(add(XLA_FFI_DataType_F32, shared, {below(2) ? kRadii : 0}), engine_);
    result({n, d, batch});
  }

  void normals() {
    const int batch = batch_size();
    call_.name = "normals";
    double_ = false;
    key();
    result(below(2) ? Dims{between(0, 9), batch} : Dims{batch});
  }

  void prompts(int context, int d) {
    const int batch = batch_size();
    for (const Dims& dims : {Dims{context, d, batch}, {context, batch}, {d, batch}, {batch}})
      argument(dims);
  }

  void name(const char* kernel) {
    call_.name = std::string(kernel) + (double_ ? "_float64" : "_float32");
  }

  XLA_FFI_DataType type() const { return double_ ? XLA_FFI_DataType_F64 : XLA_FFI_DataType_F32; }

  void argument(const Dims& dims) { fill(add(type(), leading(), dims), engine_); }

  void key() {
    for (unsigned char& byte : add(XLA_FFI_DataType_U32, leading(), {2}).bytes) byte = below(256);
  }

  // The leading axes of an argument: some are shared by all runs. The first one has them all.
  Dims leading() {
    Dims dims = call_.leading;
    if (!call_.arguments.empty())
      for (int64_t& n : dims) n = below(2) ? 1 : n;
    return dims;
  }

  Array& add(XLA_FFI_DataType type, Dims leading, const Dims& dims) {
    leading.insert(leading.end(), dims.begin(), dims.end());
    call_.arguments.emplace_back(type, leading);
    return call_.arguments.back();
  }

  void result(const Dims& dims) { call_.results.emplace_back(type(), dims); }

  std::mt19937 engine_;
  bool double_ = false;
  Call call_;
};

std::string in_words(const Call& call) {
  std::string words = call.name;
  for (const Array& each : call.arguments) {
    words += " [";
    for (const int64_t n : each.dims) words += std::to_string(n) + " ";
    words += "]";
  }
  return words;
}

void check_one(void* kernels, void* other, Call call) {
  const auto results = run(kernels, call, 1);
  const auto shared = run(kernels, call, 4);
  for (size_t i = 0; i < results.size(); ++i) {
    const auto& bytes = results[i].bytes;
    if (bytes != shared[i].bytes) fail("four threads give other bits: " + in_words(call));
    const size_t width = results[i].type == XLA_FFI_DataType_F64 ? 8 : 4;
    for (size_t at = 0; at < bytes.size(); at += width)
      if (std::memcmp(&bytes[at], kUnwritten, width) == 0)
        fail("a number is not written: " + in_words(call));
  }
  if (other != nullptr) {
    const auto expected = run(other, call, 1);
    for (size_t i = 0; i < results.size(); ++i)
      if (results[i].bytes != expected[i].bytes)
        fail("the other kernels give other bits: " + in_words(call));
  }
  for (int64_t element = 0; element < product(call.leading); ++element) {
    Call one = alone(call, element);
    const auto expected = run(kernels, one, 1);
    for (size_t i = 0; i < results.size(); ++i) {
      const auto& bytes = expected[i].bytes;
      if (!std::equal(bytes.begin(), bytes.end(),
                      results[i].bytes.begin() + element * bytes.size()))
        fail("a run alone has other bits: " + in_words(call));
    }
  }
}

}  // namespace

int main(int count, char** words) {
  if (count != 4 && count != 5) fail("give the kernels, a seed and a number of cases");
  void* kernels = open_kernels(words[1]);
  void* other = count == 5 ? open_kernels(words[4]) : nullptr;
  const unsigned seed = static_cast<unsigned>(std::atol(words[2]));
  const int cases = std::atoi(words[3]);
  const auto check = [&](unsigned its_seed) {
    Generator generator(its_seed);
    for (int i = 0; i < cases; ++i) check_one(kernels, other, generator.call());
  };
  check(seed);
  std::vector<std::thread> callers;
  for (unsigned caller = 1; caller <= 3; ++caller) callers.emplace_back(check, seed + caller);
  for (std::thread& each : callers) each.join();
  std::printf("%d random calls: no difference\n", 4 * cases);
}
