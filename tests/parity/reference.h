// Ops on the device under test beside the same on the CPU device.
#pragma once

#include <vector>

#include "cli/selftest/op_runs.h"
#include "parity/parity.h"

namespace krserve::parity {

using selftest::Content;
using selftest::Floats;
using selftest::OpCall;
using selftest::random_bytes;
using selftest::random_floats;
using selftest::random_weight;
using selftest::RandomWeight;
using selftest::relative_error;
using selftest::run_calls;
using selftest::to_type;

// The same on the CPU device with its plainest kernels.
std::vector<Content> run_reference(const std::vector<OpCall>& calls,
                                   const std::vector<Content>& contents);

}  // namespace krserve::parity
