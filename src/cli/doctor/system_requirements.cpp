#include "cli/doctor/system_requirements.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/units.h"

namespace krserve::cli {
namespace {

constexpr SystemVersion kOldestSystem{14, 0};    // Metal 3.1, the oldest language of the kernels
constexpr SystemVersion kResidencySets{15, 0};   // memory that stays resident while idle
constexpr SystemVersion kRequiredSystem{26, 0};  // Metal 4
constexpr uint32_t kRequiredFamily = 9;          // M3
constexpr uint64_t kRequiredMemory = 16 * kGiB;
constexpr uint64_t kRecommendedMemory = 32 * kGiB;
// Of what the GPU may keep resident: for KV cache, activations and staging beside the weights.
constexpr double kRoomBesideWeights = 0.1;

std::string version_text(SystemVersion v) {
  return fmt::format("{}.{}", v.major, v.minor);
}

Requirement check_macos(const MachineFacts& machine) {
  Requirement r{machine.version >= kRequiredSystem,
                fmt::format("system: macOS {}, required {} or newer", version_text(machine.version),
                            version_text(kRequiredSystem)),
                {}};
  if (r.met) return r;
  if (machine.version < kOldestSystem) {
    r.remedy = "update macOS; below 14.0 the Metal device does not work, device: cpu does";
  } else if (machine.version < kResidencySets) {
    r.remedy =
        "update macOS; until then the Metal 3 path is taken, and without residency sets (15.0) the "
        "first step after a pause may be slow";
  } else {
    r.remedy = "update macOS; until then the Metal 3 path is taken";
  }
  return r;
}

bool is_apple_silicon(const MachineFacts& machine, const std::optional<GpuFacts>& gpu) {
  return machine.processor.starts_with("Apple") || (gpu && gpu->apple_family > 0);
}

Requirement check_processor(const MachineFacts& machine, const std::optional<GpuFacts>& gpu) {
  const std::string model = machine.model.empty() ? "" : fmt::format(" ({})", machine.model);
  Requirement r{false, fmt::format("processor: {}{}", machine.processor, model), {}};
  if (machine.translated) {
    r.what += ", running krserve translated from x86-64";
    r.remedy = "build krserve for arm64 (a terminal and Homebrew that are not under Rosetta)";
    return r;
  }
  if (!is_apple_silicon(machine, gpu)) {
    r.what += ", required Apple silicon, M3 or newer";
    r.remedy = "the Metal device is for Apple silicon; device: cpu works";
    return r;
  }
  const uint32_t family = gpu ? gpu->apple_family : 0;
  r.met = family >= kRequiredFamily;
  r.what += family > 0 ? fmt::format(", GPU family Apple {}, required Apple {} (M3) or newer",
                                     family, kRequiredFamily)
                       : ", GPU family unknown, required Apple 9 (M3) or newer";
  if (r.met) return r;
  if (family == 0) {
    r.remedy = gpu ? fmt::format(
                         "{} is not a GPU of Apple silicon, as in virtual machines: "
                         "good for checks, not for measuring",
                         gpu->name)
                   : "the GPU could not be asked, see Metal below";
  } else {
    r.remedy = "works, but is neither tuned nor tested for this GPU";
  }
  return r;
}

Requirement check_metal(const MachineFacts& machine, const std::optional<GpuFacts>& gpu) {
  if (!gpu) {
    return {false, "Metal: no device",
            "krserve was built without Metal (KRSERVE_METAL=ON builds it), or this session may "
            "not use the GPU; device: cpu works"};
  }
  if (gpu->metal4) {
    return {true,
            fmt::format("Metal: 4, of macOS {} and {}", version_text(machine.version), gpu->name),
            {}};
  }
  if (!gpu->metal3) {
    return {false, fmt::format("Metal: {} has neither Metal 4 nor Metal 3", gpu->name),
            "the Metal device does not work; device: cpu does"};
  }
  if (machine.version < kRequiredSystem) {
    return {false,
            fmt::format("Metal: 3, since macOS {} has no Metal 4", version_text(machine.version)),
            "the Metal 3 path is taken; macOS 26 brings Metal 4"};
  }
  return {false, fmt::format("Metal: 3, since {} has no Metal 4", gpu->name),
          "the Metal 3 path is taken"};
}

Requirement check_memory(const MachineFacts& machine) {
  Requirement r{machine.memory_bytes >= kRequiredMemory,
                fmt::format("memory: {} unified, required {}", format_bytes(machine.memory_bytes),
                            format_bytes(kRequiredMemory)),
                {}};
  if (!r.met) {
    r.remedy = "small models work: take 4-bit weights and lower engine.ctx_size";
  } else if (machine.memory_bytes < kRecommendedMemory) {
    r.what += fmt::format(" ({} recommended for large models)", format_bytes(kRecommendedMemory));
  }
  return r;
}

// What macOS and programs need beside the GPU's memory when the limit is raised by hand.
uint64_t highest_wired_limit(uint64_t memory) {
  const uint64_t kept = std::max(4 * kGiB, memory / 8);
  return memory > kept ? memory - kept : 0;
}

Requirement check_wired_limit(const MachineFacts& machine) {
  const uint64_t highest = highest_wired_limit(machine.memory_bytes);
  Requirement r{
      machine.wired_limit_bytes <= highest,
      fmt::format("iogpu.wired_limit_mb: {} of {}", format_bytes(machine.wired_limit_bytes),
                  format_bytes(machine.memory_bytes)),
      {}};
  if (!r.met) {
    r.remedy = fmt::format("leaves too little to the system; sudo sysctl iogpu.wired_limit_mb={}",
                           highest / kMiB);
  }
  return r;
}

Requirement check_model(const MachineFacts& machine, const GpuFacts& gpu, uint64_t weights) {
  const auto need = static_cast<uint64_t>(static_cast<double>(weights) / (1 - kRoomBesideWeights));
  Requirement r{need <= gpu.working_set_bytes,
                fmt::format("model: weights of {}, the GPU may keep {} resident",
                            format_bytes(weights), format_bytes(gpu.working_set_bytes)),
                {}};
  if (r.met) return r;
  if (need <= highest_wired_limit(machine.memory_bytes)) {
    r.remedy = fmt::format(
        "sudo sysctl iogpu.wired_limit_mb={} (until the next start), or take fewer bits per weight",
        ceil_div(need, kMiB));
  } else {
    r.remedy =
        fmt::format("take fewer bits per weight or a smaller model: {} of weights fit",
                    format_bytes(static_cast<uint64_t>(static_cast<double>(gpu.working_set_bytes) *
                                                       (1 - kRoomBesideWeights))));
  }
  return r;
}

}  // namespace

std::vector<Requirement> check_system(const MachineFacts& machine,
                                      const std::optional<GpuFacts>& gpu, uint64_t weight_bytes) {
  if (machine.system != "macOS") {
    return {{true,
             fmt::format("system: {} on {}; the devices here are cpu and cuda, Metal needs macOS",
                         machine.system, machine.processor),
             {}}};
  }
  std::vector<Requirement> all = {check_macos(machine), check_processor(machine, gpu),
                                  check_metal(machine, gpu), check_memory(machine)};
  if (machine.wired_limit_bytes > 0) all.push_back(check_wired_limit(machine));
  if (gpu && weight_bytes > 0) all.push_back(check_model(machine, *gpu, weight_bytes));
  return all;
}

uint64_t weight_file_bytes(const std::string& model_path) {
  std::error_code error;
  uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(model_path, error)) {
    if (entry.path().extension() != ".safetensors") continue;
    const uintmax_t size = entry.file_size(error);
    if (!error) bytes += size;
  }
  return bytes;
}

}  // namespace krserve::cli
