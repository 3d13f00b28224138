// sample: threadgroups look through slices of a row's logits for the highest; the last of a row
// draws.
//
// Weights are exp((logit - highest) / temperature) in fixed point. A draw finds, in order of token
// id, the kept token at which the sum of masses passes u * (their sum). Top-k keeps the k first,
// top-p the shortest prefix with at least p of the mass. A row without any logit above -inf yields
// kSampledNan, as one with a NaN does.
#pragma once

#include "kernels/ops/sample.h"
#include "kernels/single_source/select.h"

namespace krserve::kernels::single_source {

KR_FN float penalized(float logit, uint32_t count, KR_DEVICE const ops::SampleRow& sample) {
  const float repetition = sample.repetition_penalty;
  const float value = logit > 0.0f ? kr_divide(logit, repetition) : logit * repetition;
  const uint32_t output = count & 0x7fffu;
  if (output == 0) return value;
  const float frequency = static_cast<float>(output) * sample.frequency_penalty;
  return value - (frequency + sample.presence_penalty);
}

// The highest logit and the lowest token that has it.
struct Peak {
  uint32_t key;
  uint32_t id;
};

KR_FN Peak group_peak(KR_THREAD const KrThread& self, KR_TG uint32_t* scan, Peak mine) {
  Peak all;
  all.key = group_max(self, scan, mine.key);
  all.id = group_min(self, scan, mine.key == all.key ? mine.id : ~0u);
  return all;
}

// Adds the row's biases whose tokens lie in the slice.
KR_FN void bias_slice(KR_CONSTANT const DialectParams& params, KR_THREAD const KrThread& self,
                      KR_COHERENT float* logits, KR_DEVICE const ops::SampleRow& sample,
                      uint32_t begin, uint32_t end) {
  const uint32_t count = sample.num_biases;
  if (count == 0) return;  // the row's, so of all threads
  KR_DEVICE const ops::LogitBias* biases =
      step_biases(params, kr_args<ops::SampleArgs>(params).layout.pages_offset) +
      sample.biases_begin;
  for (uint32_t i = self.index; i < count; i += self.count) {
    const uint32_t token = biases[i].token;
    if (token >= begin && token < end) logits[token] += biases[i].bias;
  }
  kr_barrier();
}

// Applies penalties to the slice's logits and finds their peak.
KR_FN Peak slice_peak(KR_THREAD const KrThread& self, KR_TG uint32_t* scan,
                      KR_COHERENT float* logits, KR_DEVICE const uint16_t* counts,
                      KR_DEVICE const ops::SampleRow& sample, uint32_t begin, uint32_t end) {
  const bool penalties = (sample.flags & ops::kSamplePenalties) != 0;
  Peak peak;
  peak.key = 0;
  peak.id = ~0u;
  KR_UNROLL_BY(8)
  for (uint32_t id = begin + self.index; id < end; id += self.count) {
    float logit = logits[id];
    if (penalties && counts[id] != 0) {
      logit = penalized(logit, counts[id], sample);
      logits[id] = logit;
    }
    const uint32_t key = order_key(logit);
    if (key > peak.key) {
      peak.key = key;
      peak.id = id;
    }
  }
  return group_peak(self, scan, peak);
}

// The peak of all slices, in the last of their threadgroups; a key of 0, which no float has, in the
// others.
KR_FN Peak row_peak(KR_CONSTANT const DialectParams& params, KR_THREAD const KrThread& self,
                    KR_TG uint32_t* scan, Peak peak) {
  if (self.groups_y == 1) return peak;
  KR_COHERENT uint32_t* peaks =
      kr_coherent(kr_buffer<uint32_t>(params, kWorkspaceBuffer) + kWorkspaceCounters) +
      static_cast<uint64_t>(self.group_x) * self.groups_y * 2;
  if (self.index == 0) {
    peaks[2 * self.group_y] = peak.key;
    peaks[2 * self.group_y + 1] = peak.id;
  }
  KR_DEVICE uint32_t* counter = kr_buffer<uint32_t>(params, kWorkspaceBuffer) + self.group_x;
  Peak mine;
  mine.key = 0;
  mine.id = ~0u;
  if (!last_to_arrive(self, scan, counter, self.groups_y)) return mine;
  for (uint32_t s = self.index; s < self.groups_y; s += self.count) {
    if (peaks[2 * s] > mine.key) {
      mine.key = peaks[2 * s];
      mine.id = peaks[2 * s + 1];
    }
  }
  return group_peak(self, scan, mine);
}

// Masses of tiles of consecutive tokens, one entry of the table each; returns a tile's length.
KR_FN uint32_t fill_tiles(KR_THREAD const KrThread& self, KR_THREAD const Row& row,
                          KR_THREAD const SampleMemory& memory) {
  const uint32_t length = kr_ceil_div(kr_ceil_div(row.vocab, kBuckets), kLanes) * kLanes;
  clear_table(self, memory);
  for (uint32_t tile = self.simd; tile * length < row.vocab; tile += self.simds) {
    uint64_t mass = 0;
    const uint32_t end = kr_min((tile + 1) * length, row.vocab);
    for (uint32_t id = tile * length + self.lane; id < end; id += kLanes) {
      const Token token = weigh(row.how, row.logits[id]);
      if (is_kept(row.cut, token.key, id)) mass += token.mass;
    }
    mass = kr_simd_sum(mass);
    if (self.lane == 0) {
      memory.table[kBuckets + tile] = static_cast<uint32_t>(mass);
      memory.table[2 * kBuckets + tile] = static_cast<uint32_t>(mass >> 32);
    }
  }
  kr_barrier();
  return length;
}

// The kept token whose share of the masses, in order of id, holds the random number.
KR_FN uint32_t draw_kept(KR_THREAD const KrThread& self, KR_THREAD const Row& row,
                         KR_THREAD const SampleMemory& memory, uint64_t random) {
  const uint32_t length = fill_tiles(self, row, memory);
  uint64_t before = 0;
  const uint64_t total = sum_table(self, memory, true, &before);
  const uint64_t at = scaled_product(total, random, 53, false);
  find_bucket(self, memory, true, before, at);
  const uint32_t begin = memory.result[kFoundBucket] * length;
  const uint32_t end = kr_min(begin + length, row.vocab);
  uint64_t passed = found_before(memory);
  for (uint32_t first = begin; first < end; first += self.count) {
    const uint32_t id = first + self.index;
    uint64_t mass = 0, all = 0;
    if (id < end) {
      const Token token = weigh(row.how, row.logits[id]);
      if (is_kept(row.cut, token.key, id)) mass = token.mass;
    }
    const uint64_t ahead = passed + group_scan(self, memory.scan, mass, &all);
    if (ahead <= at && at - ahead < mass) memory.result[kDrawnToken] = id;
    passed += all;
  }
  kr_barrier();
  return memory.result[kDrawnToken];
}

KR_FN uint32_t draw(KR_THREAD const KrThread& self, KR_THREAD const SampleMemory& memory,
                    KR_COHERENT const float* logits, uint32_t vocab, Peak peak,
                    KR_DEVICE const ops::SampleRow& sample) {
  Row row;
  row.logits = logits;
  row.vocab = vocab;
  row.how.peak = float_of_key(peak.key);
  row.how.temperature = sample.temperature;
  row.how.min_p = sample.min_p;
  row.cut.key = 0;  // keeps all
  row.cut.id = ~0u;
  if (sample.top_k > 0 && sample.top_k < vocab) {
    row.cut = select(self, row, memory, false, sample.top_k);
  }
  if (sample.top_p < 1.0f) {
    // Exact: a float's 24 bits fit behind the point down to 2^-16.
    const uint64_t share = static_cast<uint64_t>(sample.top_p * 1099511627776.0f);
    row.cut = select(self, row, memory, true, share > 0 ? share : 1);
  }
  const uint64_t random = random_bits(sample.seed_low, sample.seed_high, sample.counter);
  return draw_kept(self, row, memory, random);
}

KR_FN void write_token(KR_CONSTANT const DialectParams& params, uint32_t s, uint32_t vocab,
                       KR_DEVICE const ops::SampleRow& sample, int32_t token) {
  kr_buffer<int32_t>(params, 4)[s] = token;
  kr_buffer<int32_t>(params, 3)[sample.slot] = token == ops::kSampledNan ? 0 : token;
  if ((sample.flags & ops::kSamplePenalties) == 0 || token == ops::kSampledNan) return;
  KR_DEVICE uint16_t* count = kr_buffer<uint16_t>(params, 2) +
                              static_cast<uint64_t>(sample.slot) * vocab +
                              static_cast<uint32_t>(token);
  if ((*count & 0x7fffu) != 0x7fffu) *count = static_cast<uint16_t>(*count + 1u);
}

// Grid: samples, slices of the vocabulary.
KR_FN void sample_body(KR_CONSTANT const DialectParams& params, KR_THREAD const KrThread& self,
                       KR_TG uint32_t* table, KR_TG uint32_t* part) {
  KR_CONSTANT const ops::SampleArgs& args = kr_args<ops::SampleArgs>(params);
  const uint32_t s = self.group_x;
  if (s >= step_header(params).num_samples) return;
  KR_DEVICE const ops::SampleRow& sample = sample_rows(params, args.layout.samples_offset)[s];
  // The threadgroup that draws reads what those of the other slices have left.
  KR_COHERENT float* logits =
      kr_coherent(kr_buffer<float>(params, 1) + static_cast<uint64_t>(s) * args.vocab);
  KR_DEVICE const uint16_t* counts =
      kr_buffer<const uint16_t>(params, 2) + static_cast<uint64_t>(sample.slot) * args.vocab;
  const uint32_t slice = kr_ceil_div(args.vocab, self.groups_y);
  const uint32_t begin = kr_min(self.group_y * slice, args.vocab);
  const uint32_t end = kr_min(begin + slice, args.vocab);
  bias_slice(params, self, logits, sample, begin, end);
  const Peak peak =
      row_peak(params, self, part, slice_peak(self, part, logits, counts, sample, begin, end));
  if (peak.key == 0) return;
  SampleMemory memory;
  memory.table = table;
  memory.scan = part;
  memory.result = part + 2 * kMaxSimds;
  int32_t token = ops::kSampledNan;
  const bool nothing = peak.key == ~0u || peak.key == order_key(-kr_infinity());
  if (!nothing) {
    const bool greedy =
        (sample.flags & ops::kSampleGreedy) != 0 || peak.key == order_key(kr_infinity());
    token = static_cast<int32_t>(greedy ? peak.id
                                        : draw(self, memory, logits, args.vocab, peak, sample));
  }
  if (self.index == 0) write_token(params, s, args.vocab, sample, token);
}

}  // namespace krserve::kernels::single_source
