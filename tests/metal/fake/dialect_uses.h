// Which bytes of its buffers a kernel of the dialect reads and writes, by the contract of its op.
#pragma once

#include <vector>

#include "kernels/gpu_launch.h"
#include "kernels/single_source/kernel_ids.h"

namespace krserve::fake_metal {

struct DialectUse {
  uint32_t buffer;
  uint64_t begin;
  uint64_t bytes;
  bool writes;
};

// `params` with host pointers, as step parameters and page lists say which rows there are. Nothing
// for a kernel that is not known here: then only the addresses are checked.
std::vector<DialectUse> dialect_uses(kernels::single_source::KernelId id,
                                     const kernels::DialectParams& params, kernels::Dim3 grid);

}  // namespace krserve::fake_metal
