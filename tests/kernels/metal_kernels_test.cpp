// The text and the names of the Metal kernels, as the back end hands them to Metal.
#include "kernels/metal_kernels.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "kernels/entry/metal_kernels.h"
#include "kernels/entry/metal_text.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/single_source/launch.h"

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

TEST(MetalKernelsTest, AHandleIsTheNumberOfAName) {
  const auto names = metal::kernel_names();
  ASSERT_EQ(names.size(), single_source::kKernelCount);
  for (uint32_t id = 0; id < single_source::kKernelCount; ++id) {
    GpuLaunch launch;
    launch.kernel = metal_dialect_kernel(static_cast<single_source::KernelId>(id));
    EXPECT_EQ(metal::kernel_number(launch), id);
  }
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
}

TEST(MetalKernelsTest, ALaunchNamesTheKernelOfItsOp) {
  GpuDispatch dispatch;
  dispatch.op = ops::Op::kRmsNorm;
  const ops::RmsNormArgs args{64, 1e-6f, ops::RowCount::kRows};
  std::memcpy(dispatch.args, &args, sizeof(args));
  dispatch.bytes[1] = 5 * 64 * sizeof(float);
  const GpuLaunch launch = single_source::dialect_launch(dispatch, nullptr, metal_dialect_kernel);
  EXPECT_STREQ(metal::kernel_names()[metal::kernel_number(launch)], "kr_rms_norm");
  EXPECT_EQ(launch.grid.x, 5u);
}

}  // namespace
}  // namespace krserve::kernels
