// read_bandwidth: one task per chunk. Its sum is that of the chunk's uint32 words modulo 2^32.
#pragma once

#include "kernels/ops/read_bandwidth.h"
#include "kernels/tuned/cpu/step.h"

namespace krserve::kernels::KR_CPU_ISA {

inline uint32_t read_bandwidth_tasks(const Call& call) {
  const auto& args = args_of<ops::ReadBandwidthArgs>(call);
  return static_cast<uint32_t>(ceil_div(args.bytes, args.chunk_bytes));
}

KR_INLINE VecU load_words(const std::byte* from) {
  VecU v;
  __builtin_memcpy(&v, from, sizeof(v));
  return v;
}

inline void read_bandwidth_run(const Call& call, uint32_t begin, uint32_t end, Scratch&) {
  const auto& args = args_of<ops::ReadBandwidthArgs>(call);
  constexpr size_t kStreams = 8;
  constexpr size_t kStride = kStreams * kVecBytes;
  for (uint32_t chunk = begin; chunk < end; ++chunk) {
    const std::byte* data = buffer_of<const std::byte>(call, 0) + chunk * args.chunk_bytes;
    const size_t bytes = smaller(args.chunk_bytes, args.bytes - chunk * args.chunk_bytes);
    VecU acc[kStreams] = {};
    size_t i = 0;
    for (; i + kStride <= bytes; i += kStride) {
      for (size_t s = 0; s < kStreams; ++s) acc[s] += load_words(data + i + s * kVecBytes);
    }
    for (; i < bytes; i += kVecBytes) {
      VecU rest{};
      __builtin_memcpy(&rest, data + i, smaller(kVecBytes, bytes - i));
      acc[0] += rest;
    }
    for (size_t s = 1; s < kStreams; ++s) acc[0] += acc[s];
    uint32_t total = 0;
    for (uint32_t lane = 0; lane < kLanes; ++lane) total += acc[0][lane];
    buffer_of<float>(call, 1)[chunk] = static_cast<float>(total);
  }
}

}  // namespace krserve::kernels::KR_CPU_ISA
