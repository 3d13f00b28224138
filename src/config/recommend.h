// Settings for a machine's memory: the seed document's table, extended downwards.
#pragma once

#include <cstdint>
#include <string_view>

#include "config/runtime_config.h"

namespace krserve {

struct Recommendation {
  std::string_view machine;  // the class of machines it is for
  MetalOptimizationsConfig settings;
};

// Everything on; heaps by memory (of the device), ring and blit queue as in the quick start.
Recommendation recommend_settings(uint64_t memory_bytes);

}  // namespace krserve
