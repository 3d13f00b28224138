#include "model/formats/rope_table.h"

#include "model/formats/safetensors.h"
#include "model_files.h"

namespace krserve {
namespace {

class RopeTable : public ::testing::TestWithParam<const char*> {};

const float* floats(const SafetensorsFile& file, const char* name) {
  return reinterpret_cast<const float*>(file.tensors().at(name).data);
}

// transformers computes in f32: its angles are off by up to position * 2^-24 * a few.
TEST_P(RopeTable, MatchesTransformers) {
  const auto directory = test::kGolden / "rope" / GetParam();
  const ModelConfig config = read_model_config(directory);
  const SafetensorsFile golden(directory / "rope.safetensors");
  const size_t half = config.head_dim / 2;
  ASSERT_EQ(golden.tensors().at("inv_freq").shape[0], static_cast<int64_t>(half));

  const std::vector<double> frequencies = rope_frequencies(config);
  for (size_t i = 0; i < half; ++i) {
    EXPECT_NEAR(frequencies[i] / floats(golden, "inv_freq")[i], 1.0, 1e-6) << i;
  }
  const TensorView& positions = golden.tensors().at("positions");
  const auto* position = reinterpret_cast<const int32_t*>(positions.data);
  const std::vector<float> table = rope_table(config, 1001);
  ASSERT_EQ(table.size(), 1001 * 2 * half);
  for (int64_t row = 0; row < positions.shape[0]; ++row) {
    const size_t base = static_cast<size_t>(position[row]) * 2 * half;
    const double bound = 2e-7 + 1e-6 * position[row];
    for (size_t i = 0; i < half; ++i) {
      const size_t at = static_cast<size_t>(row) * half + i;
      EXPECT_NEAR(table[base + i], floats(golden, "cos")[at], bound) << position[row] << " " << i;
      EXPECT_NEAR(table[base + half + i], floats(golden, "sin")[at], bound)
          << position[row] << " " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Scaling, RopeTable, ::testing::Values("default", "llama3", "linear"));

}  // namespace
}  // namespace krserve
