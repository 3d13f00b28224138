// read_bandwidth: reads a buffer once and writes sums, to measure the memory's read rate.
#pragma once

#include "kernels/dialect/language.h"

namespace krserve::ops {

// Buffers: 0 data, 1 out f32 [chunks]. chunk_bytes is a multiple of 64.
struct ReadBandwidthArgs {
  uint64_t bytes;
  uint64_t chunk_bytes;
};

}  // namespace krserve::ops
