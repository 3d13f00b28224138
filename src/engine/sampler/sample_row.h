// From a request's sampling values to the row that the sampling kernel reads.
#pragma once

#include "engine/request.h"
#include "kernels/ops/step_params.h"

namespace krserve::engine {

// `row`: index among the step's rows; `counter`: tokens drawn before; `seed`: the resolved one;
// `biases_begin`: where the request's biases are in the step's list.
ops::SampleRow make_sample_row(const SamplingParams& params, uint64_t seed, uint32_t row,
                               uint32_t slot, uint32_t counter, uint32_t biases_begin);

}  // namespace krserve::engine
