// How KernelTest runs an op.
#include "kernels/dialect/simt.h"
#include "kernels/entry/simt_kernels.h"
#include "kernels/kernel_test.h"
#include "kernels/ops/embed_rows.h"
#include "kernels/ops/gather_rows.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/paged_attention.h"
#include "kernels/ops/read_bandwidth.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/rope_kv_write.h"
#include "kernels/ops/sample.h"
#include "kernels/ops/silu_mul.h"
#include "kernels/single_source/launch.h"

namespace krserve::kernels {

namespace {

size_t args_bytes(ops::Op op) {
  constexpr size_t kBytes[] = {sizeof(ops::EmbedRowsArgs),      sizeof(ops::RmsNormArgs),
                               sizeof(ops::MatmulArgs),         sizeof(ops::RopeKvWriteArgs),
                               sizeof(ops::PagedAttentionArgs), sizeof(ops::SiluMulArgs),
                               sizeof(ops::GatherRowsArgs),     sizeof(ops::CountTokensArgs),
                               sizeof(ops::SampleArgs),         sizeof(ops::ReadBandwidthArgs)};
  static_assert(std::size(kBytes) == ops::kOpCount);
  return kBytes[static_cast<size_t>(op)];
}

// Sets the bytes of x to room for `slack` rows more than the step has. The memory behind x need not
// exist: no kernel may touch it.
void set_capacity(GpuDispatch& dispatch, uint32_t slack) {
  uint32_t dim = 0;
  ops::RowCount which = ops::RowCount::kRows;
  if (dispatch.op == ops::Op::kRmsNorm) {
    dim = dispatch.args_as<ops::RmsNormArgs>().dim;
    which = dispatch.args_as<ops::RmsNormArgs>().rows;
  } else if (dispatch.op == ops::Op::kSiluMul) {
    dim = dispatch.args_as<ops::SiluMulArgs>().dim;
    which = dispatch.args_as<ops::SiluMulArgs>().rows;
  } else if (dispatch.op == ops::Op::kMatmul) {
    dim = dispatch.args_as<ops::MatmulArgs>().weight.k;
    which = dispatch.args_as<ops::MatmulArgs>().rows;
  } else {
    return;  // its layout says it
  }
  ops::StepHeader header;
  std::memcpy(&header, dispatch.buffers[0], sizeof(header));
  const uint32_t rows = which == ops::RowCount::kRows ? header.num_rows : header.num_samples;
  dispatch.bytes[1] = uint64_t{rows + slack} * dim * sizeof(float);
}

}  // namespace

std::string name_of(const KernelTarget& target) {
  if (const Simt* simt = std::get_if<Simt>(&target)) return "simt_" + std::to_string(simt->seed);
  return std::string(to_string(std::get<SimdLevel>(target)));
}

std::vector<KernelTarget> all_targets() {
  std::vector<KernelTarget> targets(std::begin(kAllSimdLevels), std::end(kAllSimdLevels));
  targets.push_back(Simt{1});
#if !defined(__SANITIZE_ADDRESS__)  // ten times slower, and looks at memory: one schedule does
  targets.push_back(Simt{2});
#endif
  return targets;
}

void KernelTest::SetUp() {
  if (!emulated() && !simd_level_supported(std::get<SimdLevel>(GetParam()))) {
    GTEST_SKIP() << "no " << name_of(GetParam()) << " in this processor";
  }
}

void KernelTest::run(ops::Op op, const void* args, std::vector<void*> buffers, uint32_t chunk) {
  ++serial_;
  if (emulated()) {
    const uint64_t seed = std::get<Simt>(GetParam()).seed * 1'000'003 + serial_;
    return emulate(op, args, buffers, seed, workspace_, static_cast<uint32_t>(serial_ % 4));
  }
  run_on_cpu(op, args, buffers, chunk);
}

void KernelTest::run_on_cpu(ops::Op op, const void* args, const std::vector<void*>& buffers,
                            uint32_t chunk) {
  const SimdLevel level = std::get<SimdLevel>(GetParam());
  const CpuKernel& kernel = cpu_kernel_table(level).kernels[static_cast<uint32_t>(op)];
  const Call call{args, buffers.data(), serial_};
  const uint32_t tasks = kernel.task_count(call);
  for (uint32_t end = tasks; end > 0;) {
    const uint32_t begin = end > chunk ? end - chunk : 0;
    Scratch fresh;
    kernel.run(call, begin, end, chunk == 1 ? fresh : scratch_);
    end = begin;
  }
}

void emulate(ops::Op op, const void* args, const std::vector<void*>& buffers, uint64_t seed,
             std::vector<std::byte>& workspace, uint32_t slack,
             single_source::DialectLimits limits) {
  using single_source::kWorkspaceDataOffset;
  GpuDispatch dispatch;
  dispatch.op = op;
  std::memcpy(dispatch.args, args, args_bytes(op));
  std::copy(buffers.begin(), buffers.end(), dispatch.buffers);
  set_capacity(dispatch, slack);
  const uint64_t bytes = single_source::dialect_workspace_bytes(dispatch, limits);
  if (workspace.size() < bytes) workspace.resize(bytes);
  // Only the counters may matter from launch to launch.
  for (size_t i = kWorkspaceDataOffset; i < bytes; ++i) workspace[i] = std::byte{0xcb};
  simt_launch(
      single_source::dialect_launch(dispatch, workspace.data(), simt_dialect_kernel, limits), seed);
  for (size_t i = 0; i < std::min<size_t>(workspace.size(), kWorkspaceDataOffset); ++i) {
    ASSERT_EQ(workspace[i], std::byte{0}) << "counter " << i / 4 << " is left behind";
  }
}

}  // namespace krserve::kernels
