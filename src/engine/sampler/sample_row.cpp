#include "engine/sampler/sample_row.h"

namespace krserve::engine {

ops::SampleRow make_sample_row(const SamplingParams& params, uint64_t seed, uint32_t row,
                               uint32_t slot, uint32_t counter, uint32_t biases_begin) {
  ops::SampleRow out{};
  out.row = row;
  out.slot = slot;
  out.flags = (params.greedy() ? ops::kSampleGreedy : 0U) |
              (params.uses_penalties() ? ops::kSamplePenalties : 0U);
  out.counter = counter;
  out.seed_low = static_cast<uint32_t>(seed);
  out.seed_high = static_cast<uint32_t>(seed >> 32);
  out.temperature = params.greedy() ? 1.0F : params.temperature;
  out.top_k = params.top_k;
  out.top_p = params.top_p;
  out.min_p = params.min_p;
  out.repetition_penalty = params.repetition_penalty;
  out.presence_penalty = params.presence_penalty;
  out.frequency_penalty = params.frequency_penalty;
  out.biases_begin = biases_begin;
  out.num_biases = static_cast<uint32_t>(params.logit_bias.size());
  return out;
}

}  // namespace krserve::engine
