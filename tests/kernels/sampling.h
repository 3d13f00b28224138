// Rows to sample, and how tests run the sample op on them.
#pragma once

#include <utility>
#include <vector>

#include "kernels/kernel_test.h"
#include "kernels/ops/sample.h"

namespace krserve::kernels {

inline ops::SampleRow greedy_row(uint32_t slot = 0) {
  ops::SampleRow row{};
  row.slot = slot;
  row.flags = ops::kSampleGreedy;
  row.temperature = 1;
  row.top_p = 1;
  row.repetition_penalty = 1;
  return row;
}

inline ops::SampleRow random_row(uint32_t counter, float temperature = 1.0f) {
  ops::SampleRow row = greedy_row();
  row.flags = 0;
  row.counter = counter;
  row.seed_low = 0x1234567;
  row.seed_high = 0x89abcdef;
  row.temperature = temperature;
  return row;
}

class SamplingTest : public KernelTest {
 protected:
  struct Result {
    std::vector<int32_t> sampled, last_token;
    std::vector<uint16_t> counts;
  };

  // One row of logits per sample; four slots. The bias list lies behind a page list of any length.
  Result sample(const std::vector<float>& logits, uint32_t vocab, std::vector<ops::SampleRow> rows,
                std::vector<uint16_t> counts = {}, uint32_t chunk = 1u << 30,
                std::vector<ops::LogitBias> biases = {}) {
    Step step;
    step.pages.resize(biases.size() % 4, 0x7f7f7f7f);
    step.biases = std::move(biases);
    step.samples = std::move(rows);
    std::vector<std::byte> params = step.bytes();
    std::vector<float> work = logits;
    Result result{std::vector<int32_t>(step.samples.size(), -99), std::vector<int32_t>(4, -99),
                  std::move(counts)};
    const ops::SampleArgs args{step.layout(), vocab};
    run(ops::Op::kSample, &args,
        {params.data(), work.data(), result.counts.data(), result.last_token.data(),
         result.sampled.data()},
        chunk);
    return result;
  }
};

}  // namespace krserve::kernels
