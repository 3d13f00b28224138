// Against directories that MLX quantized (scripts/golden); tests/mlx compares with MLX itself.
#include "model/convert/convert.h"

#include "model/formats/checkpoint.h"
#include "model_files.h"

namespace krserve {
namespace {

using test::model_error;
using test::TempDir;
using ::testing::HasSubstr;

void expect_same_tensors(const std::filesystem::path& ours, const std::filesystem::path& theirs) {
  const SafetensorsFile file(theirs / "model.safetensors");
  const Checkpoint checkpoint(ours);
  EXPECT_EQ(checkpoint.size(), file.tensors().size());
  for (const auto& [name, expected] : file.tensors()) {
    const TensorView& view = checkpoint.require(name);
    EXPECT_EQ(view.dtype, expected.dtype) << name;
    ASSERT_EQ(view.shape, expected.shape) << name;
    EXPECT_EQ(std::memcmp(view.data, expected.data, view.bytes), 0) << name;
  }
}

ConvertOptions in_groups_of(uint32_t group_size) {
  ConvertOptions options;
  options.quantization = {4, group_size};
  return options;
}

TEST(Convert, WritesTheTensorsThatMlxWrote) {
  const TempDir dir;
  convert_model(test::kGolden / "qwen2-bf16", dir / "qwen2", in_groups_of(64));
  expect_same_tensors(dir / "qwen2", test::kGolden / "qwen2-q4-g64");
  convert_model(test::kGolden / "llama-bf16", dir / "llama", in_groups_of(32));
  expect_same_tensors(dir / "llama", test::kGolden / "llama-q4-g32");
}

TEST(Convert, ReportsWhatItDid) {
  const TempDir dir;
  const ConvertReport report =
      convert_model(test::kGolden / "qwen2-bf16", dir / "m", in_groups_of(64));
  const Checkpoint source(test::kGolden / "qwen2-bf16");
  EXPECT_EQ(report.source_bytes, source.bytes());
  EXPECT_EQ(report.parameters, source.bytes() / 2);
  EXPECT_EQ(report.bytes, Checkpoint(dir / "m").bytes());
  EXPECT_EQ(report.files, 1u);
}

TEST(Convert, ReadsAndWritesShards) {
  const TempDir dir;
  ConvertOptions options = in_groups_of(32);
  options.shard_bytes = 20'000;
  const auto report = convert_model(test::kGolden / "llama-f16-sharded", dir / "m", options);
  EXPECT_GE(report.files, 3u);
  EXPECT_EQ(Checkpoint(dir / "m").files().size(), report.files);
  EXPECT_EQ(Checkpoint(dir / "m").require("lm_head.scales").dtype, Dtype::kF16);
}

TEST(Convert, ProgressRisesToOne) {
  const TempDir dir;
  double last = 0;
  convert_model(test::kGolden / "qwen2-bf16", dir / "m", in_groups_of(64), [&](double fraction) {
    EXPECT_GT(fraction, last);
    last = fraction;
  });
  EXPECT_EQ(last, 1.0);
}

TEST(Convert, WhatProgressThrowsEndsTheWorkAndNothingIsLeft) {
  const TempDir dir;
  EXPECT_THROW(convert_model(test::kGolden / "qwen2-bf16", dir / "m", in_groups_of(64),
                             [](double) { throw Error("test", "enough"); }),
               Error);
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(Convert, QuantizedSourceIsRefused) {
  const TempDir dir;
  EXPECT_THAT(model_error([&] {
                convert_model(test::kGolden / "qwen2-q4-g64", dir / "m", in_groups_of(64));
              }),
              HasSubstr("is quantized already (4 bits, groups of 64)"));
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(Convert, MatricesThatDoNotFitTheGroupAreReported) {
  const TempDir dir;
  ConvertOptions options = in_groups_of(128);  // hidden 64, intermediate 128
  const auto report = convert_model(test::kGolden / "llama-f16-sharded", dir / "m", options);
  EXPECT_EQ(report.plain_modules.size(), 14u);
  EXPECT_NE(Checkpoint(dir / "m").find("model.layers.0.mlp.down_proj.scales"), nullptr);
  EXPECT_EQ(Checkpoint(dir / "m").find("lm_head.scales"), nullptr);
}

}  // namespace
}  // namespace krserve
