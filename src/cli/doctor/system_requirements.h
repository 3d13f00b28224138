// Whether a machine is what the Metal optimizations were made for, and what works where it is not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/machine.h"
#include "cli/doctor/requirements.h"
#include "device/gpu_facts.h"

namespace krserve::cli {

// System, processor, Metal, memory and the model's room in it; only facts come in. `gpu`: nothing
// where there is no Metal. `weight_bytes`: 0 = no model is configured.
std::vector<Requirement> check_system(const MachineFacts& machine,
                                      const std::optional<GpuFacts>& gpu, uint64_t weight_bytes);

// Of the *.safetensors files below `model_path`; 0 if it has none.
uint64_t weight_file_bytes(const std::string& model_path);

}  // namespace krserve::cli
