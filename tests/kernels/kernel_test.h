// What kernel tests share: running an op on the CPU or on the SIMT emulator, random data, step
// parameters, and float formats converted one element at a time.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <variant>
#include <vector>

#include "kernels/cpu_kernels.h"
#include "kernels/ops/step_params.h"
#include "kernels/ops/types.h"
#include "kernels/single_source/launch.h"

namespace krserve::kernels {

// The single-source kernels on the SIMT emulator, in schedules that the seed decides.
struct Simt {
  uint64_t seed;
};

// What runs an op: the CPU's kernels at a level, or the emulator.
using KernelTarget = std::variant<SimdLevel, Simt>;
std::string name_of(const KernelTarget& target);
std::vector<KernelTarget> all_targets();

// Runs an op's single-source kernel. `slack` rows more than the step has fit into the grid. The
// workspace grows as needed; its counters must be zero and are again.
void emulate(ops::Op op, const void* args, const std::vector<void*>& buffers, uint64_t seed,
             std::vector<std::byte>& workspace, uint32_t slack = 0,
             single_source::DialectLimits limits = {});

// Instantiated for every target; skips those that cannot run here.
class KernelTest : public ::testing::TestWithParam<KernelTarget> {
 protected:
  void SetUp() override;

  bool emulated() const { return std::holds_alternative<Simt>(GetParam()); }
  bool is_level(SimdLevel level) const {
    return !emulated() && std::get<SimdLevel>(GetParam()) == level;
  }
  // The emulator takes about 10,000 times as long as a GPU: the second where it runs.
  template <class T>
  T unless_emulated(T full, T emulated_value) const {
    return emulated() ? emulated_value : full;
  }
  // A GPU reads words: where the CPU's weights are off by bytes, its are by words.
  size_t misaligned(size_t by) const { return emulated() ? by * 4 : by; }

  // Runs all tasks of an op as one dispatch, in chunks of `chunk` tasks from the last to the first.
  // On the emulator the grid has room for up to three more rows, and the schedule is never the
  // same.
  void run(ops::Op op, const void* args, std::vector<void*> buffers, uint32_t chunk = 1u << 30);

  std::mt19937 random_{12345};

  std::vector<float> normals(size_t count, float scale = 1.0f) {
    std::normal_distribution<float> normal(0.0f, scale);
    std::vector<float> values(count);
    for (float& v : values) v = normal(random_);
    return values;
  }

 private:
  void run_on_cpu(ops::Op op, const void* args, const std::vector<void*>& buffers, uint32_t chunk);
  Scratch scratch_;
  std::vector<std::byte> workspace_;
  uint64_t serial_ = 0;
};

#define KR_INSTANTIATE_TARGETS(Suite)                                          \
  INSTANTIATE_TEST_SUITE_P(Targets, Suite, ::testing::ValuesIn(all_targets()), \
                           [](const auto& test) { return name_of(test.param); })

// Bytes at an address that is `offset` past a multiple of 64.
class OddBytes {
 public:
  OddBytes(size_t bytes, size_t offset) : storage_(bytes + 128), bytes_(bytes) {
    const auto address = reinterpret_cast<uintptr_t>(storage_.data());
    begin_ = (64 - address % 64) % 64 + offset;
  }
  uint8_t* data() { return storage_.data() + begin_; }
  const uint8_t* data() const { return storage_.data() + begin_; }
  size_t size() const { return bytes_; }

 private:
  std::vector<uint8_t> storage_;
  size_t bytes_;
  size_t begin_;
};

float half_to_float(uint16_t half);
uint16_t float_to_half(float value);
float bf16_to_float(uint16_t bits);
uint16_t float_to_bf16(float value);
// Element `index` of an array of `type` at any address; store_float rounds to nearest even.
float read_float(const void* array, ops::FloatType type, size_t index);
void store_float(void* array, ops::FloatType type, size_t index, float value);

// The step parameters of a test, laid out as the kernels expect.
struct Step {
  std::vector<ops::StepRow> rows;
  std::vector<ops::SampleRow> samples;
  std::vector<uint32_t> pages;
  std::vector<ops::LogitBias> biases;

  ops::StepLayout layout() const;
  std::vector<std::byte> bytes() const;
  // A step with `count` rows and samples and nothing in them.
  static Step of_rows(uint32_t count);
};

// A weight matrix in some format, and the values it stands for.
struct TestWeight {
  ops::WeightArgs args;
  OddBytes data;
  OddBytes scales;
  OddBytes biases;
  std::vector<double> values;  // [n][k]
};
TestWeight make_weight(std::mt19937& random, ops::WeightArgs args, size_t misalignment);

}  // namespace krserve::kernels
