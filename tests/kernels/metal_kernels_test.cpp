// The text and the names of the Metal kernels, as the back end hands them to Metal.
#include "kernels/metal_kernels.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "kernels/entry/metal_text.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/paged_attention.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/single_source/kernel_ids.h"
#include "kernels/single_source/sizes.h"
#include "kernels/tuned/metal/kernel_ids.h"

namespace krserve::kernels {
namespace {

TEST(MetalKernelsTest, TheTextInTheProgramIsTheOneThatIsChecked) {
  std::ifstream file(KR_METAL_TEXT);
  const std::string checked((std::istreambuf_iterator<char>(file)), {});
  EXPECT_GT(checked.size(), 50000u);
  EXPECT_EQ(metal::library_text(), checked);
}

TEST(MetalKernelsTest, EachPieceNamesItsFileAndLine) {
  std::set<std::string> files;
  for (const std::string_view piece : metal::library_pieces()) {
    std::ifstream file;
    const size_t quote = piece.find('"'), end = piece.find('"', quote + 1);
    const std::string path(piece.substr(quote + 1, end - quote - 1));
    ASSERT_EQ(piece.substr(0, 6), "#line ") << piece.substr(0, 80);
    std::string line;
    file.open(std::string(KR_SOURCE_DIR) + "/src/" + path);
    ASSERT_TRUE(file.is_open()) << path;
    for (int n = std::stoi(std::string(piece.substr(6))); n > 0; --n) std::getline(file, line);
    if (line == "#pragma once") line.clear();
    const std::string_view text = piece.substr(piece.find('\n') + 1);
    EXPECT_EQ(text.substr(0, text.find('\n')), line) << piece.substr(0, 80);
    files.insert(path);
  }
  EXPECT_EQ(files.count("kernels/dialect/metal.h"), 1u);
  EXPECT_EQ(files.count("kernels/dialect/simt.h"), 0u);
}

template <class Args>
GpuDispatch dispatch_of(ops::Op op, const Args& args, bool barrier_before = true) {
  GpuDispatch dispatch;
  dispatch.op = op;
  dispatch.barrier_before = barrier_before;
  std::memcpy(dispatch.args, &args, sizeof(args));
  return dispatch;
}

GpuDispatch attention(bool barrier_before) {
  const ops::KvLayout kv{1 << 20, 16, 4, 4, 128, ops::FloatType::kF16, 0};
  return dispatch_of(ops::Op::kPagedAttention,
                     ops::PagedAttentionArgs{kv, ops::step_layout(1, 1), 28, 0.1f}, barrier_before);
}

std::string name_of(const metal::Launch& launch) {
  return metal::kernel_names()[launch.kernel];
}

TEST(MetalKernelsTest, NamesAreThoseOfTheKernelIdsAndDiffer) {
  const auto names = metal::kernel_names();
  ASSERT_EQ(names.size(), tuned_metal::kMetalKernelCount);
  const auto first = static_cast<uint32_t>(single_source::KernelId::kMatmulF32Rows8);
  EXPECT_STREQ(names[first + 4], "kr_matmul_Q4F16_8");
  EXPECT_STREQ(names[tuned_metal::kFirstPromptMatmul + 4], "kr_prompt_matmul_Q4F16");
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
}

TEST(MetalKernelsTest, ALaunchHoldsArgsAddressesAndGrid) {
  GpuDispatch norm = dispatch_of(ops::Op::kRmsNorm, ops::RmsNormArgs{64, 1e-6f, {}});
  norm.bytes[1] = 5 * 64 * sizeof(float);
  float x = 0;
  norm.buffers[1] = &x;
  const auto launches = metal::plan_launches({&norm, 1}, {}, nullptr);
  ASSERT_EQ(launches.size(), 1u);
  const metal::Launch& launch = launches[0];
  EXPECT_EQ(name_of(launch), "kr_rms_norm");
  EXPECT_STREQ(launch.name, "rms_norm");
  EXPECT_EQ(launch.grid.x, 5u);
  EXPECT_EQ(launch.threads, single_source::kRowThreads);
  EXPECT_TRUE(launch.barrier_before);
  EXPECT_EQ(launch.params.buffers[1], &x);
  EXPECT_EQ(std::memcmp(launch.params.args, norm.args, sizeof(ops::RmsNormArgs)), 0);
}

TEST(MetalKernelsTest, LaunchesRunBesideEachOtherUnlessBothTakeTheWorkspace) {
  const GpuDispatch norm = dispatch_of(ops::Op::kRmsNorm, ops::RmsNormArgs{64, 1e-6f, {}}, false);
  const GpuDispatch dispatches[] = {attention(true), norm, attention(false), norm, norm};
  std::vector<std::byte> workspace(metal::workspace_bytes(dispatches, {}));
  EXPECT_GT(workspace.size(), 0u);
  std::vector<bool> barriers;
  for (const metal::Launch& launch : metal::plan_launches(dispatches, {}, workspace.data())) {
    barriers.push_back(launch.barrier_before);
    const bool is_attention = name_of(launch) == "kr_attention_F16_128_8";
    EXPECT_EQ(launch.params.buffers[15], is_attention ? workspace.data() : nullptr);
  }
  EXPECT_EQ(barriers, (std::vector<bool>{true, false, true, false, false}));
}

constexpr uint32_t kPrompts = ops::kMatmulPrompts;

GpuDispatch matmul(uint32_t flags, ops::RowCount rows, bool barrier_before, uint32_t capacity) {
  const ops::WeightArgs weight{100, 256, ops::WeightFormat::kQ8, ops::FloatType::kBF16, 64};
  GpuDispatch dispatch =
      dispatch_of(ops::Op::kMatmul, ops::MatmulArgs{weight, rows, flags}, barrier_before);
  dispatch.bytes[1] = capacity * 256 * sizeof(float);
  return dispatch;
}

TEST(MetalKernelsTest, AMatmulThatMayHavePromptsIsTwoLaunchesSideBySide) {
  const GpuDispatch dispatches[] = {matmul(kPrompts, ops::RowCount::kRows, true, 70),
                                    matmul(kPrompts, ops::RowCount::kRows, false, 1)};
  const auto launches = metal::plan_launches(dispatches, {}, nullptr);
  ASSERT_EQ(launches.size(), 4u);
  const char* const names[] = {"kr_prompt_matmul_Q8BF16", "kr_matmul_Q8BF16_8",
                               "kr_prompt_matmul_Q8BF16", "kr_matmul_Q8BF16_1"};
  for (uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(name_of(launches[i]), names[i]);
    EXPECT_EQ(launches[i].barrier_before, i == 0) << i;
    EXPECT_STREQ(launches[i].name, i % 2 == 0 ? "prompt_matmul" : "matmul");
  }
  EXPECT_EQ(launches[0].grid.x, 3u);
  EXPECT_EQ(launches[0].grid.y, 2u);
  EXPECT_EQ(launches[0].threads, 128u);
  EXPECT_EQ(launches[1].grid.x, 9u);
}

TEST(MetalKernelsTest, OtherMatmulsAreOneLaunch) {
  const GpuDispatch dispatches[] = {matmul(0, ops::RowCount::kRows, true, 70),
                                    matmul(kPrompts, ops::RowCount::kSamples, true, 70)};
  const auto launches = metal::plan_launches(dispatches, {}, nullptr);
  ASSERT_EQ(launches.size(), 2u);
  for (const metal::Launch& launch : launches) EXPECT_EQ(name_of(launch), "kr_matmul_Q8BF16_8");
}

TEST(MetalKernelsTest, WithoutMatricesOneLaunchComputesAllRows) {
  const GpuDispatch with = matmul(kPrompts, ops::RowCount::kRows, true, 70);
  const GpuDispatch without = matmul(0, ops::RowCount::kRows, true, 70);
  const auto launches = metal::plan_launches({&with, 1}, {.matrices = false}, nullptr);
  ASSERT_EQ(launches.size(), 1u);
  EXPECT_EQ(name_of(launches[0]), "kr_matmul_Q8BF16_8");
  const auto plain = metal::plan_launches({&without, 1}, {}, nullptr);
  const auto* const values = launches[0].params.args + sizeof(ops::MatmulArgs);
  EXPECT_EQ(std::memcmp(values, plain[0].params.args + sizeof(ops::MatmulArgs),
                        sizeof(launches[0].params.args) - sizeof(ops::MatmulArgs)),
            0);
}

TEST(MetalKernelsTest, BelowMetal32NothingIsHandedOver) {
  const GpuDispatch dispatch = attention(true);
  const metal::GpuFacts old{metal::kOldestLanguage};
  EXPECT_EQ(metal::workspace_bytes({&dispatch, 1}, old), 0u);
  EXPECT_EQ(metal::plan_launches({&dispatch, 1}, old, nullptr)[0].grid.z, 1u);
  EXPECT_GT(metal::plan_launches({&dispatch, 1}, {}, nullptr)[0].grid.z, 1u);
}

}  // namespace
}  // namespace krserve::kernels
