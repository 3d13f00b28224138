// Kernels of the dialect on the model: their addresses resolved as a GPU would, and run by the SIMT
// emulator.
#pragma once

#include "kernels/gpu_launch.h"
#include "metal/fake/kernels.h"

namespace krserve::fake_metal {

// What the launch's DialectParams lead to: host pointers for the GPU addresses, and in the
// command's uses each buffer, with the bytes that the op's contract says it touches. False after a
// violation.
bool resolve_addresses(Command& command, const Launch& launch, const HostKernel& kernel,
                       kernels::DialectParams& resolved);

// Without the runtime's lock. Each launch has a schedule of its own: on this emulator a step of the
// embedded model takes a tenth of a second, which is fast enough for all suites.
void run_on_emulator(const Launch& launch, const HostKernel& kernel,
                     const kernels::DialectParams& params, uint64_t seed);

}  // namespace krserve::fake_metal
