// What kernel tests share: running an op at a SIMD level, random data, step parameters, and float
// formats converted one element at a time.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/cpu_kernels.h"
#include "kernels/ops/step_params.h"
#include "kernels/ops/types.h"

namespace krserve::kernels {

// Instantiated for every level; skips those the processor lacks.
class KernelTest : public ::testing::TestWithParam<SimdLevel> {
 protected:
  void SetUp() override {
    if (!simd_level_supported(GetParam())) {
      GTEST_SKIP() << "this processor has no " << to_string(GetParam());
    }
  }

  // Runs all tasks of an op as one dispatch, in chunks of `chunk` tasks from the last to the first.
  void run(ops::Op op, const void* args, std::vector<void*> buffers, uint32_t chunk = 1u << 30) {
    const CpuKernel& kernel = cpu_kernel_table(GetParam()).kernels[static_cast<uint32_t>(op)];
    const Call call{args, buffers.data(), ++serial_};
    const uint32_t tasks = kernel.task_count(call);
    for (uint32_t end = tasks; end > 0;) {
      const uint32_t begin = end > chunk ? end - chunk : 0;
      Scratch fresh;
      kernel.run(call, begin, end, chunk == 1 ? fresh : scratch_);
      end = begin;
    }
  }

  std::mt19937 random_{12345};

  std::vector<float> normals(size_t count, float scale = 1.0f) {
    std::normal_distribution<float> normal(0.0f, scale);
    std::vector<float> values(count);
    for (float& v : values) v = normal(random_);
    return values;
  }

 private:
  Scratch scratch_;
  uint64_t serial_ = 0;
};

#define KR_INSTANTIATE_LEVELS(Suite)                                           \
  INSTANTIATE_TEST_SUITE_P(Levels, Suite, ::testing::ValuesIn(kAllSimdLevels), \
                           [](const auto& test) { return std::string(to_string(test.param)); })

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
