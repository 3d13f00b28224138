// sample: one task per sampled row.
//
// Weights are exp((logit - highest) / temperature). A draw walks the kept candidates in order of
// token id until their weights pass u * (their sum), u from uniform_draw(seed, counter). Top-k
// keeps the k first, top-p the shortest prefix with at least p of the mass, in order of logit
// (highest first), then id. A row without any logit above -inf yields kSampledNan, as one with a
// NaN does.
#pragma once

#include "kernels/ops/sample.h"
#include "kernels/tuned/cpu/math.h"
#include "kernels/tuned/cpu/philox.h"
#include "kernels/tuned/cpu/select.h"
#include "kernels/tuned/cpu/step.h"

namespace krserve::kernels::KR_CPU_ISA {

inline constexpr uint32_t kSampleChunk = 128;  // logits per entry of the chunk tables

inline void add_biases(float* logits, uint32_t vocab, const ops::LogitBias* biases,
                       uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    if (biases[i].token < vocab) logits[biases[i].token] += biases[i].bias;
  }
}

inline void apply_penalties(float* logits, const uint16_t* counts, uint32_t vocab,
                            const ops::SampleRow& sample) {
  const auto penalize = [&](uint32_t id) {
    const uint16_t count = counts[id];
    if (count == 0) return;
    float value = logits[id];
    value = value > 0 ? value / sample.repetition_penalty : value * sample.repetition_penalty;
    const auto output = static_cast<float>(count & ~ops::kCountPromptBit);
    if (output > 0) value -= output * sample.frequency_penalty + sample.presence_penalty;
    logits[id] = value;
  };
  uint32_t id = 0;
  for (; id + 16 <= vocab; id += 16) {  // most tokens were never seen
    uint64_t words[4];
    __builtin_memcpy(words, counts + id, sizeof(words));
    if ((words[0] | words[1] | words[2] | words[3]) == 0) continue;
    for (uint32_t i = id; i < id + 16; ++i) penalize(i);
  }
  for (; id < vocab; ++id) penalize(id);
}

struct Peak {
  float logit;
  uint32_t id;  // the lowest with this logit
  bool nan;
};

inline Peak find_peak(const float* logits, uint32_t vocab) {
  constexpr uint32_t kStreams = 4;
  const VecF lowest = splat(-__builtin_inff());
  VecF best[kStreams];
  VecI index[kStreams], at[kStreams], nan{};
  for (uint32_t s = 0; s < kStreams; ++s) {
    best[s] = lowest;
    index[s] = VecI{};
    at[s] = lane_index() + static_cast<int32_t>(s * kLanes);
  }
  uint32_t base = 0;
  for (; base + kStreams * kLanes <= vocab; base += kStreams * kLanes) {
    for (uint32_t s = 0; s < kStreams; ++s) {
      const VecF v = load(logits + base + s * kLanes);
      nan |= v != v;
      const VecI better = v > best[s];
      best[s] = select(better, v, best[s]);
      index[s] = select(better, at[s], index[s]);
      at[s] += static_cast<int32_t>(kStreams * kLanes);
    }
  }
  Peak peak{-__builtin_inff(), 0, false};
  for (uint32_t i = 0; i < kLanes; ++i) peak.nan |= nan[i] != 0;
  for (uint32_t s = 0; s < kStreams; ++s) {
    for (uint32_t i = 0; i < kLanes; ++i) {
      const auto id = static_cast<uint32_t>(index[s][i]);
      if (best[s][i] > peak.logit || (best[s][i] == peak.logit && id < peak.id)) {
        peak = {best[s][i], id, peak.nan};
      }
    }
  }
  for (; base < vocab; ++base) {
    const float v = logits[base];
    peak.nan |= v != v;
    if (v > peak.logit) peak = {v, base, peak.nan};
  }
  return peak;
}

// Mass and highest weight of each chunk of the vocabulary.
struct ChunkTables {
  double* mass;
  float* peak;
  uint32_t count;
};

// Turns logits into weights in place; weights below min_p become 0. Returns their sum.
inline double make_weights(float* logits, uint32_t vocab, const Peak& peak,
                           const ops::SampleRow& sample, const ChunkTables& chunks) {
  const VecF top = splat(peak.logit), temperature = splat(sample.temperature);
  const VecF min_p = splat(sample.min_p);
  const auto weight_of = [&](VecF logit) {
    const VecF w = exp((logit - top) / temperature);
    return select(w >= min_p, w, VecF{});
  };
  double total = 0;
  for (uint32_t c = 0; c < chunks.count; ++c) {
    const uint32_t begin = c * kSampleChunk;
    const uint32_t end = smaller(begin + kSampleChunk, vocab);
    VecF mass{}, highest{};
    uint32_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      const VecF w = weight_of(load(logits + i));
      store(logits + i, w);
      mass += w;
      highest = max(w, highest);
    }
    float chunk_mass = sum(mass), chunk_peak = max_lane(highest);
    if (i < end) {
      const VecF w = weight_of(load_part(logits + i, end - i));
      store_part(logits + i, w, end - i);
      for (uint32_t lane = 0; lane < end - i; ++lane) {
        chunk_mass += w[lane];
        chunk_peak = larger(chunk_peak, w[lane]);
      }
    }
    chunks.mass[c] = chunk_mass;
    chunks.peak[c] = chunk_peak;
    total += chunk_mass;
  }
  return total;
}

// Weights that might be kept: none that is left out can be in the cut.
inline size_t collect(Candidate* candidates, const float* weights, uint32_t vocab,
                      const ChunkTables& chunks, float threshold) {
  size_t count = 0;
  for (uint32_t c = 0; c < chunks.count; ++c) {
    if (chunks.peak[c] < threshold || chunks.peak[c] == 0) continue;
    const uint32_t end = smaller((c + 1) * kSampleChunk, vocab);
    for (uint32_t id = c * kSampleChunk; id < end; ++id) {
      candidates[count] = {weights[id], id};
      count += weights[id] >= threshold && weights[id] > 0;
    }
  }
  return count;
}

// A weight that at least k weights reach: the k-th highest of the chunks' peaks.
inline float top_k_threshold(Candidate* memory, const ChunkTables& chunks, uint32_t k) {
  size_t count = 0;
  for (uint32_t c = 0; c < chunks.count; ++c) {
    if (chunks.peak[c] > 0) memory[count++] = {chunks.peak[c], c};
  }
  return count < k ? 0.0f : bit_as<float>(find_cut<Measure::kCount>(memory, count, k).bits);
}

inline double mass_of(const Candidate* candidates, size_t count) {
  double mass = 0;
  for (size_t i = 0; i < count; ++i) mass += static_cast<double>(candidates[i].weight);
  return mass;
}

inline uint32_t draw_from(const Candidate* candidates, size_t count, double u) {
  double rest = u * mass_of(candidates, count);
  for (size_t i = 0; i < count; ++i) {
    rest -= static_cast<double>(candidates[i].weight);
    if (rest < 0) return candidates[i].id;
  }
  return candidates[count - 1].id;
}

inline uint32_t draw_from_all(const float* weights, uint32_t vocab, const ChunkTables& chunks,
                              double total, double u) {
  double rest = u * total;
  uint32_t last = 0;  // rounding may leave the sum short: the last token with a weight then
  for (uint32_t c = 0; c < chunks.count; ++c) {
    if (chunks.peak[c] == 0) continue;
    const bool inside = rest < chunks.mass[c];
    if (!inside) {
      rest -= chunks.mass[c];
      last = c;
      continue;
    }
    last = c;
    double left = rest;
    const uint32_t end = smaller((c + 1) * kSampleChunk, vocab);
    for (uint32_t id = c * kSampleChunk; id < end; ++id) {
      left -= static_cast<double>(weights[id]);
      if (left < 0) return id;
    }
    break;
  }
  uint32_t id = smaller((last + 1) * kSampleChunk, vocab) - 1;
  while (weights[id] == 0) --id;
  return id;
}

inline uint32_t draw(float* logits, uint32_t vocab, const Peak& peak, const ops::SampleRow& sample,
                     Scratch& scratch) {
  const uint32_t count = ceil_div(vocab, kSampleChunk);
  const size_t table_bytes = round_up(count * (sizeof(double) + sizeof(float)), 64);
  auto* memory = static_cast<std::byte*>(
      scratch.reserve(table_bytes + (size_t{vocab} + 1) * sizeof(Candidate)));
  auto* masses = reinterpret_cast<double*>(memory);
  const ChunkTables chunks{masses, reinterpret_cast<float*>(masses + count), count};
  auto* candidates = reinterpret_cast<Candidate*>(memory + table_bytes);

  const double u = uniform_draw(sample.seed_low, sample.seed_high, sample.counter);
  const double total = make_weights(logits, vocab, peak, sample, chunks);
  const bool top_k = sample.top_k > 0 && sample.top_k < vocab;
  const bool top_p = sample.top_p < 1.0f;
  if (!top_k && !top_p) return draw_from_all(logits, vocab, chunks, total, u);

  float threshold = 0;
  if (top_k) {
    threshold = top_k_threshold(candidates, chunks, sample.top_k);
  } else {
    // All weights below this together hold less than half of what top-p leaves out.
    threshold = static_cast<float>((1.0 - sample.top_p) * total / (2.0 * vocab));
  }
  size_t kept = collect(candidates, logits, vocab, chunks, threshold);
  if (top_k) {
    kept = apply_cut(candidates, kept, find_cut<Measure::kCount>(candidates, kept, sample.top_k));
  }
  if (top_p) {
    const double mass = top_k ? mass_of(candidates, kept) : total;
    kept = apply_cut(candidates, kept,
                     find_cut<Measure::kMass>(candidates, kept, sample.top_p * mass));
  }
  return draw_from(candidates, kept, u);
}

inline uint32_t sample_tasks(const Call& call) {
  return step_header(call).num_samples;
}

inline void sample_run(const Call& call, uint32_t begin, uint32_t end, Scratch& scratch) {
  const auto& args = args_of<ops::SampleArgs>(call);
  for (uint32_t s = begin; s < end; ++s) {
    const ops::SampleRow& sample = sample_row(call, args.layout, s);
    float* logits = buffer_of<float>(call, 1) + size_t{s} * args.vocab;
    const bool penalties = (sample.flags & ops::kSamplePenalties) != 0;
    uint16_t* counts =
        penalties ? buffer_of<uint16_t>(call, 2) + size_t{sample.slot} * args.vocab : nullptr;
    int32_t& last_token = buffer_of<int32_t>(call, 3)[sample.slot];
    int32_t& sampled = buffer_of<int32_t>(call, 4)[s];
    if (sample.num_biases > 0) {
      add_biases(logits, args.vocab, step_biases(call, args.layout) + sample.biases_begin,
                 sample.num_biases);
    }
    if (penalties) apply_penalties(logits, counts, args.vocab, sample);
    const Peak peak = find_peak(logits, args.vocab);
    if (peak.nan || peak.logit == -__builtin_inff()) {
      sampled = ops::kSampledNan;
      last_token = 0;
      continue;
    }
    const bool greedy = (sample.flags & ops::kSampleGreedy) != 0 || peak.logit == __builtin_inff();
    const uint32_t token = greedy ? peak.id : draw(logits, args.vocab, peak, sample, scratch);
    sampled = static_cast<int32_t>(token);
    last_token = sampled;
    if (penalties && (counts[token] & 0x7fffu) != 0x7fffu) ++counts[token];
  }
}

}  // namespace krserve::kernels::KR_CPU_ISA
