// From a request's sampling values to the row that the sampling kernel reads.
#pragma once

#include "engine/request.h"
#include "kernels/ops/step_params.h"

namespace krserve::engine {

// `row`: index among the step's rows; `counter`: tokens drawn before; `seed`: the resolved one.
ops::SampleRow make_sample_row(const SamplingParams& params, uint64_t seed, uint32_t row,
                               uint32_t slot, uint32_t counter);

}  // namespace krserve::engine
