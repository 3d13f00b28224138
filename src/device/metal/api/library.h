// From Metal source text to pipelines.
#pragma once

#include "device/metal/api/foundation.h"

namespace krserve::metal {

class MTLCompileOptions : public NSObject {
 public:
  static constexpr const char* kClassName = "MTLCompileOptions";
  void set_language_version(MTLLanguageVersion version) { send<msg::SetLanguage>(this, version); }
  // Before macOS 15, which has math modes instead.
  void set_fast_math_enabled(bool enabled) { send<msg::SetFastMath>(this, enabled); }
  void set_math_mode(MTLMathMode mode) { send<msg::SetMathMode>(this, mode); }
  void set_math_functions(MTLMathFloatingPointFunctions functions) {
    send<msg::SetMathFunctions>(this, functions);
  }
};

class MTLFunction : public NSObject {
 public:
  NSString* name() const { return send<msg::FunctionName>(this); }
};

class MTLLibrary : public NSObject {
 public:
  // Null if there is none of this name. Owned by the caller.
  MTLFunction* new_function(const NSString* name) { return send<msg::NewFunction>(this, name); }
  // Of NSString.
  NSArray* function_names() const { return send<msg::FunctionNames>(this); }
};

class MTLComputePipelineState : public NSObject {
 public:
  NSUInteger max_total_threads_per_threadgroup() const { return send<msg::MaxThreads>(this); }
  NSUInteger thread_execution_width() const { return send<msg::SimdWidth>(this); }
  NSUInteger static_threadgroup_memory_length() const { return send<msg::StaticMemory>(this); }
};

}  // namespace krserve::metal
