// read_bandwidth: a threadgroup per chunk; its sum is that of the chunk's uint32 words modulo 2^32.
#pragma once

#include "kernels/ops/read_bandwidth.h"
#include "kernels/single_source/common.h"

namespace krserve::kernels::single_source {

KR_FN uint32_t sum_of(kr_uint4 v) {
  return v.x + v.y + v.z + v.w;
}

// The words [0, words) at `data`, one thread's share.
KR_FN uint32_t sum_words(KR_THREAD const KrThread& self, KR_DEVICE const uint32_t* data,
                         uint64_t words) {
  uint32_t sum = 0;
  uint64_t done = 0;
  if (kr_address(data) % 16 == 0) {
    KR_DEVICE const kr_uint4* vectors = reinterpret_cast<KR_DEVICE const kr_uint4*>(data);
    const uint64_t count = words / 4, stride = self.count;
    uint64_t i = self.index;
    for (; i + 3 * stride < count; i += 4 * stride) {
      const kr_uint4 a = vectors[i], b = vectors[i + stride], c = vectors[i + 2 * stride],
                     d = vectors[i + 3 * stride];
      sum += sum_of(a) + sum_of(b) + sum_of(c) + sum_of(d);
    }
    for (; i < count; i += stride) sum += sum_of(vectors[i]);
    done = count * 4;
  }
  for (uint64_t i = done + self.index; i < words; i += self.count) sum += data[i];
  return sum;
}

KR_FN void read_bandwidth_body(KR_CONSTANT const DialectParams& params,
                               KR_THREAD const KrThread& self, KR_TG uint32_t* part) {
  KR_CONSTANT const ops::ReadBandwidthArgs& args = kr_args<ops::ReadBandwidthArgs>(params);
  const uint64_t begin = self.group_x * args.chunk_bytes;
  const uint64_t left = args.bytes - begin;
  const uint64_t bytes = left < args.chunk_bytes ? left : args.chunk_bytes;
  KR_DEVICE const uint8_t* data = kr_buffer<const uint8_t>(params, 0) + begin;
  uint32_t sum = sum_words(self, reinterpret_cast<KR_DEVICE const uint32_t*>(data), bytes / 4);
  if (self.index == 0) {  // the last word may be cut short
    for (uint64_t i = bytes / 4 * 4; i < bytes; ++i) {
      sum += static_cast<uint32_t>(data[i]) << (8 * (i % 4));
    }
  }
  sum = kr_simd_sum(sum);
  if (self.lane == 0) part[self.simd] = sum;
  kr_barrier();
  if (self.simd == 0) {
    sum = kr_simd_sum(self.lane < self.simds ? part[self.lane] : 0u);
    if (self.lane == 0) kr_buffer<float>(params, 1)[self.group_x] = static_cast<float>(sum);
  }
}

}  // namespace krserve::kernels::single_source
