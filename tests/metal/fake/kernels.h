// Kernels of the fake: host functions under the names that the Metal source has.
#pragma once

#include <array>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "device/metal/api/types.h"
#include "kernels/dialect/simt.h"
#include "kernels/single_source/kernel_ids.h"
#include "metal/fake/objc_model.h"
#include "metal/fake/resources.h"

namespace krserve::fake_metal {

using metal::MTLSize;

struct Launch {
  MTLSize groups{};
  MTLSize threads{};
  // By index; null and 0 where the kernel has no argument.
  std::array<std::byte*, metal::kMaxBufferBindings> buffers{};
  std::array<uint64_t, metal::kMaxBufferBindings> bytes{};
  std::array<uint64_t, metal::kMaxBufferBindings> threadgroup_bytes{};
};

struct KernelArgument {
  uint32_t index;
  bool writes;
  // How much of the binding the kernel touches; without it, all up to the buffer's end.
  std::function<uint64_t(const Launch&)> extent_bytes;
};

struct HostKernel {
  std::string name;
  std::vector<KernelArgument> arguments;
  uint64_t threadgroup_bytes = 0;
  std::function<void(const Launch&)> run;
  // Of the dialect: one argument, DialectParams, with GPU addresses in it. Kernels for Metal alone
  // have ids from kKernelCount on.
  const kernels::SimtKernel* simt = nullptr;
  kernels::single_source::KernelId id = kernels::single_source::KernelId::kKernelCount;
};

// From now on source that names the kernel has it.
void register_kernel(HostKernel kernel);

class CompileOptions : public Object {
 public:
  const char* class_name() const override { return "MTLCompileOptions"; }
  void set_language(metal::MTLLanguageVersion) {}
  void set_fast_math(bool) {}
  void set_math_mode(metal::MTLMathMode) {}
  void set_math_functions(metal::MTLMathFloatingPointFunctions) {}
};

class Function : public Object {
 public:
  explicit Function(const HostKernel& kernel) : kernel_(kernel) {}
  const char* class_name() const override { return "MTLFunction"; }
  String* name() { return make_string(kernel_.name); }
  const HostKernel& kernel() const { return kernel_; }

 private:
  const HostKernel& kernel_;
};

class Library : public Object {
 public:
  explicit Library(std::string source) : source_(std::move(source)) {}
  // Null, with an error, for source that has an #error or no kernel.
  static Library* compile(const std::string& source, Error** error);
  static Library* load(const std::string& path, Error** error);
  const char* class_name() const override { return "MTLLibrary"; }
  Function* new_function(String* name);
  Array* function_names();

 private:
  std::string source_;
};

class Pipeline : public Object {
 public:
  explicit Pipeline(const HostKernel& kernel) : kernel_(kernel) {}
  const char* class_name() const override { return "MTLComputePipelineState"; }
  NSUInteger max_threads();
  NSUInteger simd_width() { return 32; }
  NSUInteger static_memory() { return kernel_.threadgroup_bytes; }
  const HostKernel& kernel() const { return kernel_; }

 private:
  const HostKernel& kernel_;
};

}  // namespace krserve::fake_metal
