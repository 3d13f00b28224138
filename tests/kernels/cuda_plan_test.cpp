// What a decoder's step becomes on a GPU: the launches of plan_launches(), without a GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "device/cpu/cpu_device.h"
#include "kernels/cuda_kernels.h"
#include "model/decoder/decoder.h"
#include "model/formats/checkpoint.h"
#include "runtime/blit_queue/direct_blit.h"
#include "runtime/memory_pool/allocator.h"
#include "support/engine_client.h"

namespace krserve::kernels {
namespace {

// Keeps dispatches as a GPU back end does.
class Recorder final : public CommandBuffer {
 public:
  void dispatch(ops::Op op, const void* args, uint32_t args_bytes,
                std::span<const BufferView> buffers) override {
    GpuDispatch& d = dispatches.emplace_back();
    d.op = op;
    d.barrier_before = std::exchange(barrier_, false) || dispatches.size() == 1;
    std::memcpy(d.args, args, args_bytes);
    for (size_t i = 0; i < buffers.size(); ++i) {
      d.buffers[i] = buffers[i].contents();
      d.bytes[i] = buffers[i].bytes;
    }
  }
  void copy(const BufferView&, const BufferView&) override { FAIL() << "a copy in a step"; }
  void fill(const BufferView&, uint8_t) override { FAIL() << "a fill in a step"; }
  void barrier() override { barrier_ = true; }
  CommandBufferState state() const override { return CommandBufferState::kEncoding; }
  Timestamps timestamps() const override { return {}; }

  std::vector<GpuDispatch> dispatches;

 private:
  bool barrier_ = false;
};

// A100, L40, H100, B200.
constexpr cuda::GpuFacts kGpus[] = {
    {80, 108, 163 << 10}, {89, 142, 99 << 10}, {90, 132, 227 << 10}, {100, 148, 227 << 10}};

class CudaPlan : public ::testing::Test {
 protected:
  // A step of that many rows, each sampled, through the model.
  std::vector<GpuLaunch> plan(const char* name, uint32_t rows, const cuda::GpuFacts& facts = {}) {
    const auto directory = test::golden_dir(name);
    const ModelConfig config = read_model_config(directory);
    layers_ = config.layers;
    const auto device = make_cpu_device();
    runtime::DirectAllocator allocator(device);
    runtime::DirectBlit transfers(device);
    // Copied: mapped files are not aligned as device memory is.
    const auto weights = std::make_shared<const DeviceWeights>(
        device, allocator, transfers, std::make_shared<const Checkpoint>(directory), config, 128,
        [](double) {}, WeightLoading{.stream = true});
    ops::KvLayout kv{};
    kv.page_tokens = 16;
    kv.kv_heads = config.kv_heads;
    kv.head_dim = config.head_dim;
    kv.type = ops::FloatType::kF16;
    kv.page_bytes = config.layers * 2 * ops::kv_plane_bytes(kv);
    kv.segment_shift = 6;
    std::vector<runtime::Allocation> owned;
    const auto own = [&](uint64_t bytes) {
      owned.push_back(allocator.allocate(bytes, runtime::MemoryTag::kOther));
      return owned.back().view();
    };
    StepBuffers buffers;
    buffers.step_params = own(ops::step_layout(rows, rows).pages_offset + 4096);
    buffers.last_token = own(rows * sizeof(int32_t));
    buffers.token_counts = own(uint64_t{rows} * config.vocab_size * sizeof(uint16_t));
    buffers.sampled = own(rows * sizeof(int32_t));
    buffers.kv_segments.push_back(own(64 * kv.page_bytes));
    for (const auto& tensor : activation_tensors(config, {rows, rows})) {
      set_activation(buffers, tensor.name, own(tensor.bytes));
    }
    Recorder recorder;
    Decoder(config, weights, kv).encode(recorder, buffers, {rows, rows});
    const BufferView workspace = own(cuda::workspace_bytes(recorder.dispatches, facts) + 256);
    return cuda::plan_launches(recorder.dispatches, facts, workspace.contents());
  }

  // Names in order: `layer` once for each layer, then `head`.
  void expect_launches(const std::vector<GpuLaunch>& launches,
                       const std::vector<std::string>& layer,
                       const std::vector<std::string>& head) {
    std::vector<std::string> names;
    for (const GpuLaunch& launch : launches) names.emplace_back(launch.name);
    std::vector<std::string> expected{"count_tokens", "embed_rows"};
    for (uint32_t i = 0; i < layers_; ++i) {
      expected.insert(expected.end(), layer.begin(), layer.end());
    }
    expected.insert(expected.end(), head.begin(), head.end());
    EXPECT_EQ(names, expected);
  }

  uint32_t layers_ = 0;
};

TEST_F(CudaPlan, ALayerOfOneRowIsSixLaunches) {
  const std::vector<std::string> head{"matmul", "sample"};
  expect_launches(
      plan("qwen3-bf16", 1),
      {"matmul", "rope_kv_write", "attention_decode", "matmul", "matmul_gated", "matmul"}, head);
  // Heads of 16 dimensions have no tuned attention.
  expect_launches(
      plan("qwen2-q4-g64", 1),
      {"matmul", "rope_kv_write", "paged_attention", "matmul", "matmul_gated", "matmul"}, head);
}

TEST_F(CudaPlan, AFewRowsArePreparedOnceForEachMatmul) {
  expect_launches(plan("qwen3-bf16", 8),
                  {"norm_prepare", "matmul", "rope_kv_write", "attention_decode", "attention_runs",
                   "prepare", "matmul", "norm_prepare", "matmul_gated", "prepare", "matmul"},
                  {"gather_rows", "norm_prepare", "matmul", "sample"});
}

TEST_F(CudaPlan, ManyRowsTakeTensorCoreTiles) {
  for (const uint32_t rows : {64U, 512U}) {
    expect_launches(
        plan("qwen2-q4-g64", rows),
        {"norm_prepare", "matmul_tiled", "rope_kv_write", "paged_attention", "prepare",
         "matmul_tiled", "norm_prepare", "matmul_gated_tiled", "prepare", "matmul_tiled"},
        {"gather_rows", "norm_prepare", "matmul_tiled", "sample"});
  }
}

TEST_F(CudaPlan, WeightsOfFourBytesTakeTheDialectsKernels) {
  expect_launches(plan("qwen2-q4-g64-dequantized-f32-sharded", 8),
                  {"rms_norm", "matmul", "matmul", "matmul", "rope_kv_write", "paged_attention",
                   "matmul", "rms_norm", "matmul", "matmul", "silu_mul", "matmul"},
                  {"gather_rows", "rms_norm", "matmul", "sample"});
}

TEST_F(CudaPlan, EveryLaunchIsOneThatAnyGpuTakes) {
  for (const char* model : {"qwen2-q4-g64", "qwen3-bf16", "llama-q4-g32", "qwen3-q8-g64-mixed"}) {
    for (const cuda::GpuFacts& gpu : kGpus) {
      for (const uint32_t rows : {1U, 3U, 8U, 9U, 64U, 300U}) {
        for (const GpuLaunch& launch : plan(model, rows, gpu)) {
          SCOPED_TRACE(std::string(model) + " " + launch.name + " rows " + std::to_string(rows));
          EXPECT_NE(launch.kernel, nullptr);
          EXPECT_GT(launch.grid.x * uint64_t{launch.grid.y} * launch.grid.z, 0U);
          EXPECT_LE(launch.grid.y, 65535U);
          EXPECT_LE(launch.grid.z, 65535U);
          EXPECT_LE(launch.block.x * launch.block.y * launch.block.z, 1024U);
          EXPECT_LE(launch.shared_bytes, gpu.max_shared_bytes);
          EXPECT_LE(launch.params_bytes, kMaxParamsBytes);
        }
      }
    }
  }
}

}  // namespace
}  // namespace krserve::kernels
