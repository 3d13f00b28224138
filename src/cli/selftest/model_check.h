// Greedy tokens of a model on the device, with every combination of switches that matters, beside
// the CPU's.
#pragma once

#include <filesystem>
#include <memory>

#include "cli/selftest/golden.h"

namespace krserve::selftest {

// On the device the tokens of all combinations must be one; they are compared with the CPU's too.
// Throws ModelError if the model cannot be read.
void check_model(CheckLog& log, const OpenDevice& open, const std::filesystem::path& model,
                 Extent extent);

}  // namespace krserve::selftest
