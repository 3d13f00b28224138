#include "device/metal/metal_library.h"

#include "base/error.h"
#include "device/metal/metal_errors.h"

namespace krserve {
namespace {

constexpr metal::NSUInteger kSimdWidth = 32;

// NaNs and infinities count, and a sum has the order that is written.
metal::Owned<metal::MTLCompileOptions> compile_options(const MetalFacts& facts) {
  auto options = metal::make_object<metal::MTLCompileOptions>();
  options->set_language_version(static_cast<metal::MTLLanguageVersion>(facts.gpu.language));
  if (facts.math_modes) {
    options->set_math_mode(metal::MTLMathMode::kSafe);
    options->set_math_functions(metal::MTLMathFloatingPointFunctions::kPrecise);
  } else {
    options->set_fast_math_enabled(false);
  }
  return options;
}

metal::Owned<metal::MTLLibrary> open_library(metal::MTLDevice& device, const MetalFacts& facts,
                                             const std::string& file) {
  metal::NSError* error = nullptr;
  if (!file.empty()) {
    metal::Owned<metal::MTLLibrary> library(device.new_library(metal::NSURL::file(file), &error));
    if (library) return library;
    throw_error<DeviceError>("device.open", "Metal does not load the kernels of {}: {}", file,
                             metal_error_text(error));
  }
  const auto options = compile_options(facts);
  const std::string text = kernels::metal::library_text();
  metal::Owned<metal::MTLLibrary> library(
      device.new_library(metal::NSString::from(text), options.get(), &error));
  if (library) return library;
  throw_error<DeviceError>("device.open",
                           "Metal's compiler refuses the kernels, which is an error of krserve's: "
                           "report it with the output of krserve metal-selftest\n{}",
                           metal_error_text(error));
}

}  // namespace

MetalLibrary::MetalLibrary(metal::MTLDevice& device, const MetalFacts& facts,
                           const std::string& file)
    : device_(device), pipelines_(kernels::metal::kernel_names().size()) {
  const metal::AutoreleaseScope scope;
  library_ = open_library(device, facts, file);
}

metal::MTLComputePipelineState* MetalLibrary::pipeline(uint32_t kernel) {
  const std::lock_guard lock(mutex_);
  metal::Owned<metal::MTLComputePipelineState>& pipeline = pipelines_.at(kernel);
  if (pipeline) return pipeline.get();
  const metal::AutoreleaseScope scope;
  const char* const name = kernels::metal::kernel_names()[kernel];
  const metal::Owned<metal::MTLFunction> function(
      library_->new_function(metal::NSString::from(name)));
  if (!function) {
    throw_error<DeviceError>("metal_device.kernel", "the library has no function {}", name);
  }
  metal::NSError* error = nullptr;
  metal::Owned<metal::MTLComputePipelineState> made(device_.new_pipeline(function.get(), &error));
  if (!made) {
    throw_error<DeviceError>("metal_device.kernel", "Metal makes no pipeline of {}: {}", name,
                             metal_error_text(error));
  }
  if (made->thread_execution_width() != kSimdWidth) {
    throw_error<DeviceError>("metal_device.kernel",
                             "{} runs in simdgroups of {} threads on this GPU; the kernels need {}",
                             name, made->thread_execution_width(), kSimdWidth);
  }
  pipeline = std::move(made);
  return pipeline.get();
}

}  // namespace krserve
