// Calls handlers of the kernels on one thread, for a program that counts instructions.
//
//   counted_calls KERNELS.so NAME:FORM:LAYERS:DIM:CONTEXT:PROMPTS ...
//
// FORM is the attribute `form`, and `distribution` of moments. Every case is called three times:
// with 2 PROMPTS, so that memory is there; with PROMPTS; with 2 PROMPTS. What the last two calls
// differ in is what PROMPTS cost, without what a call costs beside them.

#include <sstream>

#include "xla_calls.hpp"

namespace {

class Case {
 public:
  explicit Case(const std::string& words) {
    std::istringstream stream(words);
    std::getline(stream, call_.name, ':');
    char colon;
    stream >> form_ >> colon >> layers_ >> colon >> dim_ >> colon >> context_ >> colon >> prompts_;
    if (!stream) fail("give NAME:FORM:LAYERS:DIM:CONTEXT:PROMPTS instead of " + words);
  }

  int count() const { return prompts_; }

  Call call(int batch) {
    call_.arguments.clear();
    call_.results.clear();
    call_.attributes.clear();
    call_.leading.clear();
    batch_ = batch;
    if (starts("attention_")) {
      attention();
    } else if (starts("mlp_attention_")) {
      mlp_attention();
    } else if (starts("moments_")) {
      moments();
    } else {
      reduced_form();
    }
    return call_;
  }

 private:
  bool starts(const std::string& words) const {
    return call_.name.compare(0, words.size(), words) == 0;
  }
  bool has(const char* words) const { return call_.name.find(words) != std::string::npos; }
  int copies() const { return has("hvp") ? 2 : 1; }

  XLA_FFI_DataType type() const { return has("64") ? XLA_FFI_DataType_F64 : XLA_FFI_DataType_F32; }
  Array& add(XLA_FFI_DataType type, const Dims& dims) {
    call_.arguments.emplace_back(type, dims);
    fill(call_.arguments.back(), engine_);
    return call_.arguments.back();
  }
  void result(const Dims& dims) { call_.results.emplace_back(type(), dims); }

  std::vector<Dims> moment_dims() const {
    return {{dim_, dim_, batch_}, {dim_, batch_}, {batch_}, {dim_, batch_}, {batch_}};
  }
  void prompts() {
    for (const Dims& dims :
         {Dims{context_, dim_, batch_}, {context_, batch_}, {dim_, batch_}, {batch_}})
      add(type(), dims);
  }
  Dims matrices() const {
    const int size = dim_ + form_;
    return {layers_, size, size};
  }

  void reduced_form() {
    for (int i = 0; i < 2 * copies(); ++i) add(type(), matrices());
    for (const Dims& dims : moment_dims()) add(type(), dims);
    if (has("hessian")) {
      result({2 * product(matrices()), 2 * product(matrices())});
    } else {
      if (has("gradient")) result({});
      for (int i = 0; i < 2; ++i) result(matrices());
    }
    call_.attributes = {{"form", form_}};
  }

  void attention() {
    for (int i = 0; i < 2 * copies(); ++i) add(type(), matrices());
    prompts();
    if (has("gradient")) result({});
    for (int i = 0; i < 2; ++i) result(matrices());
    call_.attributes = {{"activation", kSoftmax}, {"form", form_}};
  }

  void mlp_attention() {
    const std::vector<Dims> weights = {matrices(), matrices(),      {kHidden, dim_},
                                       {kHidden},  {dim_, kHidden}, {dim_}};
    for (int i = 0; i < copies(); ++i)
      for (const Dims& dims : weights) add(type(), dims);
    prompts();
    if (has("gradient")) result({});
    for (const Dims& dims : weights) result(dims);
    call_.attributes = {{"form", form_}};
  }

  void moments() {
    for (uint32_t key = 1; key <= 3; ++key) {
      Array& array = add(XLA_FFI_DataType_U32, {2});
      for (int i = 0; i < 2; ++i) std::memcpy(&array.bytes[4 * i], &key, 4);
    }
    add(XLA_FFI_DataType_F32, form_ == kCorrelated ? Dims{dim_, dim_} : Dims{2});
    // Of normal covariates the quantiles of chi numbers, of radial ones those of the radius.
    const Dims radii = {form_ == kRadial ? kRadii : 2};
    add(XLA_FFI_DataType_F32, form_ <= kCorrelated ? Dims{dim_ + 1, kChi} : radii);
    add(type(), {});
    for (const Dims& dims : moment_dims()) result(dims);
    call_.attributes = {{"context", context_}, {"distribution", form_}};
  }

  static constexpr int kSoftmax = 2, kHidden = 15, kCorrelated = 1, kRadial = 3, kChi = 17;
  int form_, layers_, dim_, context_, prompts_, batch_;
  std::mt19937 engine_;
  Call call_;
};

}  // namespace

int main(int count, char** words) {
  if (count < 3) fail("give the kernels and cases");
  void* kernels = open_kernels(words[1]);
  for (int i = 2; i < count; ++i) {
    Case each(words[i]);
    for (const int batch : {2 * each.count(), each.count(), 2 * each.count()}) {
      Call call = each.call(batch);
      run(kernels, call, 1);
    }
  }
}
