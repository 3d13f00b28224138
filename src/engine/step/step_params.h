// Writes a plan into the bytes of a StepParams buffer.
#pragma once

#include <cstddef>
#include <vector>

#include "engine/scheduler/scheduler.h"
#include "model/decoder/decoder.h"

namespace krserve::engine {

// Bytes of a StepParams buffer for this capacity with at most `pages` page-list entries and as many
// biases as that many samples may have.
uint64_t step_params_bytes(StepCapacity capacity, uint64_t pages);

// The bytes to upload; `out` is reused between steps. The plan fits the capacity.
void write_step_params(const StepPlan& plan, StepCapacity capacity, std::vector<std::byte>& out);

}  // namespace krserve::engine
