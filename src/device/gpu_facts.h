// What Metal says about this machine's GPU, without opening a device on it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace krserve {

struct GpuFacts {
  std::string name;           // "Apple M3 Max"
  uint32_t apple_family = 0;  // of Apple's GPUs: M1 is 7, M2 8, M3 and M4 9, M5 10; 0 = another
  bool metal3 = false;
  bool metal4 = false;             // the system's too: false before macOS 26
  uint64_t working_set_bytes = 0;  // what the system lets the GPU keep resident
  uint64_t max_buffer_bytes = 0;
};

// Nothing where there is no Metal, or this krserve is built without it.
std::optional<GpuFacts> metal_gpu_facts();

}  // namespace krserve
