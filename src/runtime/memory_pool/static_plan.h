// Static plan: offsets for a step's activations, computed once from their lifetimes, overlapped
// where no two are alive at the same time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace krserve::runtime {

// A tensor is alive in stages first_use..last_use, both inclusive.
struct PlannedTensor {
  std::string name;
  uint64_t bytes = 0;
  uint32_t first_use = 0;
  uint32_t last_use = 0;
  uint64_t offset = 0;  // set by plan_offsets
};

struct StaticPlan {
  std::vector<PlannedTensor> tensors;
  uint64_t planned_bytes = 0;  // size of the block that holds them all
  uint64_t naive_bytes = 0;    // sum of sizes

  const PlannedTensor& tensor(const std::string& name) const;
};

// Largest first, each at the lowest offset where it meets no tensor alive at the same time.
StaticPlan plan_offsets(std::vector<PlannedTensor> tensors, uint64_t alignment);

}  // namespace krserve::runtime
