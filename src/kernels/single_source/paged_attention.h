// paged_attention: a threadgroup works on one row and up to kHeads query heads of one kv head.
//
// A chunk of the context goes to the simdgroups in blocks of 32 positions, one to a lane: scores
// need no sum over lanes, and the softmax is online per simdgroup. The simdgroups' results make the
// chunk's, and those are merged in order, by one threadgroup as it goes or, where several share a
// row, by the last of them. Chunks depend on the row's own context alone, and so do its bits.
#pragma once

#include "kernels/ops/paged_attention.h"
#include "kernels/single_source/kv_cache.h"

namespace krserve::kernels::single_source {

// Threadgroup memory of a kernel with room for kDim dimensions, in floats from its begin.
template <uint32_t kDim, uint32_t kHeads>
struct AttentionMemory {
  enum : uint32_t {
    kLines = kAttentionSimds * kHeads,
    kQueries = 0,                         // [head][dim]
    kWeights = kQueries + kHeads * kDim,  // [line][32]
    kPeaks = kWeights + kLines * kLanes,  // [line]
    kTotals = kPeaks + kLines,            // [line]
    kSums = kTotals + kLines,             // [line][dim]
    kFloats = kSums + kLines * kDim,
  };
};

// What a threadgroup works on.
struct AttentionTask {
  uint32_t row, kv_head;
  uint32_t first_head, heads;  // query heads
  uint32_t context;            // positions the row sees
  uint32_t chunk_tokens, chunks;
  KR_DEVICE const uint32_t* pages;
};

// A simdgroup's part of a chunk: sums relative to each head's peak. Lane l holds dimensions 2 l and
// 2 l + 1 of every 64.
template <uint32_t kDim, uint32_t kHeads>
struct AttentionState {
  float peak[kHeads];
  float total[kHeads];  // of the positions of this lane
  float sum[kHeads][kDim / kLanes];
};

template <class T, uint32_t kDim, uint32_t kHeads>
KR_FN void score_block(KR_THREAD float* score, KR_TG const float* queries, KR_DEVICE const T* key,
                       uint32_t dim, uint32_t heads) {
  KR_UNROLL
  for (uint32_t h = 0; h < kHeads; ++h) score[h] = 0.0f;
  const bool vectors = whole_vectors(key, dim);
  KR_UNROLL_BY(2)
  for (uint32_t at = 0; at < dim; at += kPiece) {
    float k[kPiece];
    load_piece(k, key, at, dim, vectors);
    KR_UNROLL
    for (uint32_t h = 0; h < kHeads; ++h) {
      if (h >= heads) continue;
      KR_TG const kr_float4* q = reinterpret_cast<KR_TG const kr_float4*>(queries + h * kDim + at);
      const kr_float4 a = q[0], b = q[1];
      score[h] = kr_fma(a.x, k[0], score[h]);
      score[h] = kr_fma(a.y, k[1], score[h]);
      score[h] = kr_fma(a.z, k[2], score[h]);
      score[h] = kr_fma(a.w, k[3], score[h]);
      score[h] = kr_fma(b.x, k[4], score[h]);
      score[h] = kr_fma(b.y, k[5], score[h]);
      score[h] = kr_fma(b.z, k[6], score[h]);
      score[h] = kr_fma(b.w, k[7], score[h]);
    }
  }
}

KR_FN void load_pair(KR_THREAD float* to, KR_DEVICE const float* from) {
  to[0] = from[0];
  to[1] = from[1];
}
template <class T>
KR_FN void load_pair(KR_THREAD float* to, KR_DEVICE const T* from) {
  two_of_word<T>(to, *reinterpret_cast<KR_DEVICE const uint32_t*>(from));
}

// sum += weights * values over the block's `count` positions.
template <class T, uint32_t kDim, uint32_t kHeads>
KR_FN void add_values(KR_THREAD AttentionState<kDim, kHeads>& state, KR_TG const float* weights,
                      KR_TG const uint64_t* tokens, uint64_t plane, uint32_t count, uint32_t dim,
                      uint32_t heads, uint32_t lane) {
  KR_UNROLL_BY(4)
  for (uint32_t t = 0; t < count; ++t) {
    KR_DEVICE const T* value = kr_pointer<const T>(tokens[t] + plane);
    KR_UNROLL
    for (uint32_t j = 0; j < kDim / 64; ++j) {
      const uint32_t d = 2 * lane + 64 * j;
      float v[2] = {0.0f, 0.0f};
      if (d < dim) load_pair(v, value + d);
      KR_UNROLL
      for (uint32_t h = 0; h < kHeads; ++h) {
        if (h >= heads) continue;
        const float weight = weights[h * kLanes + t];
        state.sum[h][2 * j] = kr_fma(weight, v[0], state.sum[h][2 * j]);
        state.sum[h][2 * j + 1] = kr_fma(weight, v[1], state.sum[h][2 * j + 1]);
      }
    }
  }
}

// The simdgroup's blocks of a chunk.
template <class T, uint32_t kDim, uint32_t kHeads>
KR_FN void attend_chunk(KR_CONSTANT const DialectParams& params, KR_THREAD const KrThread& self,
                        KR_THREAD const AttentionTask& task, uint32_t chunk,
                        KR_THREAD AttentionState<kDim, kHeads>& state, KR_TG float* memory,
                        KR_TG uint64_t* tokens) {
  using Memory = AttentionMemory<kDim, kHeads>;
  KR_CONSTANT const ops::KvLayout& kv = kr_args<ops::PagedAttentionArgs>(params).kv;
  const uint64_t plane = kv.kv_heads * kv_head_bytes(kv);
  KR_TG float* weights = memory + Memory::kWeights + self.simd * kHeads * kLanes;
  KR_TG uint64_t* addresses = tokens + self.simd * kLanes;
  const uint32_t begin = chunk * task.chunk_tokens;
  const uint32_t end = kr_min(begin + task.chunk_tokens, task.context);
  for (uint32_t first = begin + self.simd * kLanes; first < end; first += kAttentionChunkUnit) {
    const uint32_t count = kr_min(kLanes, end - first);
    // Surplus lanes look at the last position and weigh it with 0.
    const uint32_t position = first + kr_min(self.lane, count - 1);
    const uint64_t address = kv_key_address(params, 3, kv, task.pages, position, task.kv_head);
    float score[kHeads];
    score_block<T, kDim, kHeads>(score, memory + Memory::kQueries, kr_pointer<const T>(address),
                                 kv.head_dim, task.heads);
    kr_simd_barrier();  // all lanes are done with the block before
    addresses[self.lane] = address;
    KR_UNROLL
    for (uint32_t h = 0; h < kHeads; ++h) {
      if (h >= task.heads) continue;
      const float value = self.lane < count ? score[h] : -kr_infinity();
      const float peak = kr_fmax(state.peak[h], kr_simd_max(value));
      const float correction = kr_exp(state.peak[h] - peak);
      const float weight = kr_exp(value - peak);
      weights[h * kLanes + self.lane] = weight;
      state.peak[h] = peak;
      state.total[h] = kr_fma(state.total[h], correction, weight);
      KR_UNROLL
      for (uint32_t i = 0; i < kDim / kLanes; ++i) state.sum[h][i] *= correction;
    }
    kr_simd_barrier();
    add_values<T>(state, weights, addresses, plane, count, kv.head_dim, task.heads, self.lane);
  }
}

// Elements (head, dimension) of a threadgroup that a thread merges: every kThreads-th.
template <uint32_t kDim, uint32_t kHeads>
struct AttentionMerge {
  enum : uint32_t {
    kThreads = kAttentionSimds * kLanes,
    kElements = kDim * kHeads / kThreads,
  };
  float peak[kElements];
  float total[kElements];
  float sum[kElements];
};

// Adds a later part, of the given peak, to what element i has.
template <uint32_t kDim, uint32_t kHeads>
KR_FN void merge(KR_THREAD AttentionMerge<kDim, kHeads>& all, uint32_t i, float peak, float total,
                 float sum) {
  const float highest = kr_fmax(all.peak[i], peak);
  const float before = kr_exp(all.peak[i] - highest), added = kr_exp(peak - highest);
  all.peak[i] = highest;
  all.total[i] = kr_fma(all.total[i], before, total * added);
  all.sum[i] = kr_fma(all.sum[i], before, sum * added);
}

template <uint32_t kDim, uint32_t kHeads>
KR_FN void clear(KR_THREAD AttentionMerge<kDim, kHeads>& all) {
  KR_UNROLL
  for (uint32_t i = 0; i < AttentionMerge<kDim, kHeads>::kElements; ++i) {
    all.peak[i] = -kr_infinity();
    all.total[i] = 0.0f;
    all.sum[i] = 0.0f;
  }
}

// Computes a chunk and leaves its result in `merged`.
template <class T, uint32_t kDim, uint32_t kHeads>
KR_FN void reduce_chunk(KR_CONSTANT const DialectParams& params, KR_THREAD const KrThread& self,
                        KR_THREAD const AttentionTask& task, uint32_t chunk,
                        KR_THREAD AttentionMerge<kDim, kHeads>& merged, KR_TG float* memory,
                        KR_TG uint64_t* tokens) {
  using Memory = AttentionMemory<kDim, kHeads>;
  AttentionState<kDim, kHeads> state;
  KR_UNROLL
  for (uint32_t h = 0; h < kHeads; ++h) {
    state.peak[h] = -kr_infinity();
    state.total[h] = 0.0f;
    KR_UNROLL
    for (uint32_t i = 0; i < kDim / kLanes; ++i) state.sum[h][i] = 0.0f;
  }
  attend_chunk<T>(params, self, task, chunk, state, memory, tokens);
  kr_barrier();  // the chunk before has been read
  KR_UNROLL
  for (uint32_t h = 0; h < kHeads; ++h) {
    const uint32_t line = self.simd * kHeads + h;
    const float total = kr_simd_sum(state.total[h]);
    if (self.lane == 0) {
      memory[Memory::kPeaks + line] = state.peak[h];
      memory[Memory::kTotals + line] = total;
    }
    KR_UNROLL
    for (uint32_t i = 0; i < kDim / kLanes; ++i) {
      const uint32_t d = 2 * self.lane + 64 * (i / 2) + i % 2;
      memory[Memory::kSums + line * kDim + d] = state.sum[h][i];
    }
  }
  kr_barrier();
  clear(merged);
  KR_UNROLL
  for (uint32_t i = 0; i < AttentionMerge<kDim, kHeads>::kElements; ++i) {
    const uint32_t element = self.index + i * AttentionMerge<kDim, kHeads>::kThreads;
    // The first simdgroup has a position; one without adds 0.
    for (uint32_t s = 0; s < kAttentionSimds; ++s) {
      const uint32_t line = s * kHeads + element / kDim;
      merge(merged, i, memory[Memory::kPeaks + line], memory[Memory::kTotals + line],
            memory[Memory::kSums + line * kDim + element % kDim]);
    }
  }
}

template <uint32_t kDim, uint32_t kHeads>
KR_FN void write_attention(KR_CONSTANT const DialectParams& params, KR_THREAD const KrThread& self,
                           KR_THREAD const AttentionTask& task,
                           KR_THREAD const AttentionMerge<kDim, kHeads>& all) {
  KR_CONSTANT const ops::PagedAttentionArgs& args = kr_args<ops::PagedAttentionArgs>(params);
  const uint32_t dim = args.kv.head_dim;
  KR_DEVICE float* out = kr_buffer<float>(params, 2) +
                         (static_cast<uint64_t>(task.row) * args.heads + task.first_head) * dim;
  KR_UNROLL
  for (uint32_t i = 0; i < AttentionMerge<kDim, kHeads>::kElements; ++i) {
    const uint32_t element = self.index + i * AttentionMerge<kDim, kHeads>::kThreads;
    const uint32_t h = element / kDim, d = element % kDim;
    if (h < task.heads && d < dim) out[h * dim + d] = all.sum[i] * kr_divide(1.0f, all.total[i]);
  }
}

// A chunk's result to, or from, its place in the workspace.
template <uint32_t kDim, uint32_t kHeads>
KR_FN void store_partial(KR_COHERENT float* partial, KR_THREAD const KrThread& self, uint32_t dim,
                         uint32_t heads, KR_THREAD const AttentionMerge<kDim, kHeads>& merged) {
  KR_UNROLL
  for (uint32_t i = 0; i < AttentionMerge<kDim, kHeads>::kElements; ++i) {
    const uint32_t element = self.index + i * AttentionMerge<kDim, kHeads>::kThreads;
    const uint32_t h = element / kDim, d = element % kDim;
    if (h >= heads || d >= dim) continue;
    KR_COHERENT float* head = partial + h * (2 + dim);
    if (d == 0) {
      head[0] = merged.peak[i];
      head[1] = merged.total[i];
    }
    head[2 + d] = merged.sum[i];
  }
}

template <uint32_t kDim, uint32_t kHeads>
KR_FN void merge_partial(KR_COHERENT const float* partial, KR_THREAD const KrThread& self,
                         uint32_t dim, uint32_t heads,
                         KR_THREAD AttentionMerge<kDim, kHeads>& all) {
  KR_UNROLL
  for (uint32_t i = 0; i < AttentionMerge<kDim, kHeads>::kElements; ++i) {
    const uint32_t element = self.index + i * AttentionMerge<kDim, kHeads>::kThreads;
    const uint32_t h = element / kDim, d = element % kDim;
    if (h >= heads || d >= dim) continue;
    KR_COHERENT const float* head = partial + h * (2 + dim);
    merge(all, i, head[0], head[1], head[2 + d]);
  }
}

KR_FN AttentionTask attention_task(KR_CONSTANT const DialectParams& params,
                                   KR_THREAD const KrThread& self, uint32_t heads) {
  KR_CONSTANT const ops::PagedAttentionArgs& args = kr_args<ops::PagedAttentionArgs>(params);
  KR_DEVICE const ops::StepRow& row = step_rows(params, args.layout.rows_offset)[self.group_x];
  const uint32_t group = args.heads / args.kv.kv_heads;
  const uint32_t parts = kr_ceil_div(group, heads);
  const uint32_t first = self.group_y % parts * heads;
  AttentionTask task;
  task.row = self.group_x;
  task.kv_head = self.group_y / parts;
  task.first_head = task.kv_head * group + first;
  task.heads = kr_min(heads, group - first);
  task.context = row.position + 1;
  task.chunk_tokens =
      kr_ceil_div(task.context, kAttentionChunkUnit * kAttentionChunks) * kAttentionChunkUnit;
  task.chunks = kr_ceil_div(task.context, task.chunk_tokens);
  task.pages = step_pages(params, args.layout.pages_offset) + row.pages_begin;
  return task;
}

// Dimensions that the head lacks are 0.
template <uint32_t kDim, uint32_t kHeads>
KR_FN void load_queries(KR_CONSTANT const DialectParams& params, KR_THREAD const KrThread& self,
                        KR_THREAD const AttentionTask& task, KR_TG float* queries) {
  KR_CONSTANT const ops::PagedAttentionArgs& args = kr_args<ops::PagedAttentionArgs>(params);
  const uint32_t dim = args.kv.head_dim;
  KR_DEVICE const float* q = kr_buffer<const float>(params, 1) +
                             (static_cast<uint64_t>(task.row) * args.heads + task.first_head) * dim;
  for (uint32_t i = self.index; i < kDim * kHeads; i += self.count) {
    const uint32_t h = i / kDim, d = i % kDim;
    queries[i] = h < task.heads && d < dim ? q[h * dim + d] * args.scale : 0.0f;
  }
  kr_barrier();
}

// Grid: rows, kv heads by kHeads query heads, threadgroups that share a row's chunks.
template <class T, uint32_t kDim, uint32_t kHeads>
KR_FN void paged_attention_body(KR_CONSTANT const DialectParams& params,
                                KR_THREAD const KrThread& self, KR_TG float* memory,
                                KR_TG uint64_t* tokens, KR_TG uint32_t* part) {
  if (self.group_x >= step_header(params).num_rows) return;
  const AttentionTask task = attention_task(params, self, kHeads);
  if (self.group_z >= task.chunks) return;
  const uint32_t dim = kr_args<ops::PagedAttentionArgs>(params).kv.head_dim;
  const uint32_t sharers = kr_min(self.groups_z, task.chunks);
  const uint32_t line = task.row * self.groups_y + self.group_y;
  const uint32_t stride = kHeads * (2 + dim);  // attention_partial_floats()
  KR_COHERENT float* partials =
      kr_coherent(kr_pointer<float>(kr_address(kr_buffer<uint8_t>(params, kWorkspaceBuffer)) +
                                    kWorkspaceDataOffset)) +
      static_cast<uint64_t>(line) * kAttentionChunks * stride;

  load_queries<kDim, kHeads>(params, self, task, memory + AttentionMemory<kDim, kHeads>::kQueries);
  AttentionMerge<kDim, kHeads> all;
  clear(all);
  for (uint32_t chunk = self.group_z; chunk < task.chunks; chunk += self.groups_z) {
    AttentionMerge<kDim, kHeads> merged;
    reduce_chunk<T>(params, self, task, chunk, merged, memory, tokens);
    if (sharers > 1) {
      store_partial(partials + chunk * stride, self, dim, task.heads, merged);
      continue;
    }
    KR_UNROLL
    for (uint32_t i = 0; i < AttentionMerge<kDim, kHeads>::kElements; ++i) {
      merge(all, i, merged.peak[i], merged.total[i], merged.sum[i]);
    }
  }
  if (sharers > 1) {
    KR_DEVICE uint32_t* counter = kr_buffer<uint32_t>(params, kWorkspaceBuffer) + line;
    if (!last_to_arrive(self, part, counter, sharers)) return;
    for (uint32_t chunk = 0; chunk < task.chunks; ++chunk) {
      merge_partial(partials + chunk * stride, self, dim, task.heads, all);
    }
  }
  write_attention(params, self, task, all);
}

}  // namespace krserve::kernels::single_source
