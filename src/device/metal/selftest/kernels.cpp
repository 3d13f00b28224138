// The kernels' text in each language version that the system has, and a pipeline of each kernel.
#include <fmt/format.h>

#include <map>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "device/metal/metal_library.h"
#include "device/metal/selftest/common.h"
#include "device/metal_checks.h"
#include "kernels/single_source/sizes.h"
#include "kernels/tuned/metal/kernel_ids.h"

namespace krserve {
namespace {

struct Language {
  uint32_t version;
  int macos;
};
constexpr Language kLanguages[] = {
    {kernels::metal::language_version(3, 1), 14},
    {kernels::metal::language_version(3, 2), 15},
    {kernels::metal::language_version(4, 0), 26},
};

std::string name_of(uint32_t language) {
  return fmt::format("{}.{}", language >> 16, language & 0xffff);
}

// Threads of a launch.
uint32_t needed_threads(std::string_view kernel) {
  namespace sizes = kernels::single_source;
  if (kernel.starts_with("kr_matmul")) return sizes::kMatmulSimds * 32;
  if (kernel.starts_with("kr_prompt_matmul")) return kernels::tuned_metal::kPromptSimds * 32;
  if (kernel.starts_with("kr_attention")) return sizes::kAttentionSimds * 32;
  if (kernel == "kr_rope_kv_write") return sizes::kRopeSimds * 32;
  return kernel == "kr_sample" ? sizes::kSampleThreads : sizes::kRowThreads;
}

double ms_since(uint64_t start_ns) {
  return static_cast<double>(now_ns() - start_ns) / 1e6;
}

// `tell_sizes`: what each kernel's threadgroups may have.
void check_pipelines(CheckLog& log, MetalLibrary& library, const std::string& language,
                     bool tell_sizes) {
  const auto names = kernels::metal::kernel_names();
  // Threads that a threadgroup may have, and bytes of its memory -> kernels.
  std::map<std::pair<uint64_t, uint64_t>, std::vector<std::string>> kinds;
  std::vector<double> times;
  for (uint32_t i = 0; i < names.size(); ++i) {
    const std::string what = fmt::format("{} in {}", names[i], language);
    log.doing(what);
    try {
      const uint64_t start = now_ns();
      const metal::MTLComputePipelineState& pipeline = *library.pipeline(i);
      times.push_back(ms_since(start));
      const uint64_t most = pipeline.max_total_threads_per_threadgroup();
      kinds[{most, pipeline.static_threadgroup_memory_length()}].emplace_back(names[i]);
      if (most < needed_threads(names[i])) {
        log.failed(what, fmt::format("threadgroups of at most {} threads; it is launched with {}",
                                     most, needed_threads(names[i])));
      } else {
        log.passed(what);
      }
    } catch (const DeviceError& error) {
      log.failed(what, error.what());
    }
  }
  if (!times.empty()) log.measured("pipeline of a kernel, " + language, "ms", times);
  if (!tell_sizes) return;
  for (const auto& [kind, kernels] : kinds) {
    std::string text;
    for (size_t i = 0; i < kernels.size(); ++i) {
      text += (i % 3 == 0 ? (i ? "\n" : "") : " ") + kernels[i];
    }
    log.fact(fmt::format("{}: {} threads, {} bytes", language, kind.first, kind.second), text);
  }
}

void check_language(CheckLog& log, metal::MTLDevice& device, MetalFacts facts, uint32_t version) {
  const std::string what = fmt::format("the kernels' text in Metal {}", name_of(version));
  log.doing(what);
  const bool is_taken = facts.gpu.language == version;
  facts.gpu.language = version;
  const uint64_t start = now_ns();
  try {
    MetalLibrary library(device, facts, "");
    log.measured("compiling the text, " + name_of(version), "ms", {ms_since(start)});
    log.passed(what);
    check_pipelines(log, library, name_of(version), is_taken);
  } catch (const DeviceError& error) {
    log.failed(what, error.what());
  }
}

}  // namespace

void check_metal_kernels(CheckLog& log) {
  require_metal();
  const metal::AutoreleaseScope scope;
  const metal::Owned<metal::MTLDevice> device = system_metal_device();
  const MetalFacts facts = read_metal_facts(*device.get(), MetalPath::kAuto);
  for (const Language& language : kLanguages) {
    if (language.macos > macos_version()) {
      log.not_run(fmt::format("Metal {}", name_of(language.version)),
                  fmt::format("it came with macOS {}", language.macos));
      continue;
    }
    check_language(log, *device.get(), facts, language.version);
  }
}

}  // namespace krserve
