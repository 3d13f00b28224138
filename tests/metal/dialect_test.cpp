// Kernels of the dialect on the model: found by GPU address, checked against what is resident and
// ordered, run by the emulator.
#include <gmock/gmock.h>

#include <cstring>

#include "kernels/dialect/simt.h"
#include "kernels/metal_kernels.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/step_params.h"
#include "metal/bench.h"
#include "metal/fake/dialect_uses.h"

namespace krserve::fake_metal {
namespace {

using namespace krserve::metal;
using kernels::metal::Launch;
using testing::AnyOf;
using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr uint32_t kDim = 64;
constexpr uint32_t kRows = 3;
constexpr NSUInteger kVectorBytes = kRows * kDim * sizeof(float);

// Two norms, one of the other's result; all memory in a heap, so that no binding tells of it.
class MetalDialect : public testing::TestWithParam<uint32_t> {
 protected:
  void SetUp() override {
    Options options;
    options.seed = GetParam();
    bench_ = std::make_unique<Bench>(options);
    heap_ = bench_->new_heap(1 << 20, MTLHazardTrackingMode::kUntracked);
    memory_ = Owned<MTLBuffer>(heap_->new_buffer(1 << 19, kSharedUntracked, 0));
    pipeline_ = make_pipeline();
    const kernels::metal::GpuFacts facts;
    const kernels::GpuDispatch dispatches[] = {norm(kX, kY), norm(kY, kZ)};
    launches_ = kernels::metal::plan_launches(dispatches, facts, nullptr);
    const ops::StepHeader header{kRows, 0, 0, 0};
    std::memcpy(at(kStep), &header, sizeof(header));
    std::fill_n(floats_at(kX), kRows * kDim, 2.0F);
    std::fill_n(floats_at(kWeight), kDim, 3.0F);
    write_params();
  }
  void TearDown() override {
    EXPECT_TRUE(Gpu::get().wait_idle(std::chrono::seconds(10)));
    Runtime::get().clear_violations();
  }

  // Places in the buffer.
  enum Place : uint64_t {
    kStep = 0,
    kX = 4096,
    kY = 2 * 4096,
    kZ = 3 * 4096,
    kWeight = 4 * 4096,
    kParams = 5 * 4096,
  };

  std::byte* at(uint64_t offset) { return static_cast<std::byte*>(memory_->contents()) + offset; }
  float* floats_at(uint64_t offset) { return reinterpret_cast<float*>(at(offset)); }
  std::vector<float> result() { return {floats_at(kZ), floats_at(kZ) + kRows * kDim}; }

  Owned<MTLComputePipelineState> make_pipeline() {
    const std::string text = kernels::metal::library_text();
    const Owned<MTLLibrary> library(
        bench_->device->new_library(NSString::from(text), nullptr, nullptr));
    const Owned<MTLFunction> function(library->new_function(NSString::from("kr_rms_norm")));
    return Owned<MTLComputePipelineState>(bench_->device->new_pipeline(function.get(), nullptr));
  }

  kernels::GpuDispatch norm(uint64_t from, uint64_t to) {
    kernels::GpuDispatch dispatch;
    dispatch.op = ops::Op::kRmsNorm;
    const ops::RmsNormArgs args{kDim, 1e-6F, ops::RowCount::kRows};
    std::memcpy(dispatch.args, &args, sizeof(args));
    const uint64_t places[] = {kStep, from, kWeight, to};
    for (size_t i = 0; i < std::size(places); ++i) {
      dispatch.buffers[i] = reinterpret_cast<void*>(memory_->gpu_address() + places[i]);
      dispatch.bytes[i] = kVectorBytes;
    }
    return dispatch;
  }
  void write_params() {
    for (size_t i = 0; i < launches_.size(); ++i) {
      std::memcpy(at(kParams + i * kernels::metal::kParamsStride), &launches_[i].params,
                  sizeof(launches_[i].params));
    }
  }

  void make_resident() {
    bench_->residents->add(heap_.get());
    bench_->residents->commit();
  }
  void encode(MTL4ComputeCommandEncoder* encoder, size_t index) {
    bench_->table->set_address(
        memory_->gpu_address() + kParams + index * kernels::metal::kParamsStride, 0);
    encoder->set_pipeline(pipeline_.get());
    encoder->set_argument_table(bench_->table.get());
    encoder->dispatch({launches_[index].grid.x, 1, 1}, {launches_[index].threads, 1, 1});
  }
  void encode(MTLComputeCommandEncoder* encoder, size_t index) {
    encoder->set_pipeline(pipeline_.get());
    encoder->set_buffer(params_.get(), index * kernels::metal::kParamsStride, 0);
    encoder->dispatch({launches_[index].grid.x, 1, 1}, {launches_[index].threads, 1, 1});
  }
  void run4(bool barrier) {
    bench_->commit4([&](MTL4ComputeCommandEncoder* encoder) {
      encode(encoder, 0);
      if (barrier) encoder->encoder_barrier(kDispatchOnly, kDispatchOnly, kVisible);
      encode(encoder, 1);
    });
    bench_->finish4();
  }
  void run3(const std::function<void(MTLComputeCommandEncoder*)>& name) {
    params_ = bench_->new_buffer(kernels::metal::kParamsStride * 2);
    std::memcpy(params_->contents(), at(kParams), kernels::metal::kParamsStride * 2);
    bench_
        ->commit3(MTLDispatchType::kConcurrent,
                  [&](MTLComputeCommandEncoder* encoder) {
                    name(encoder);
                    encode(encoder, 0);
                    encoder->memory_barrier(MTLBarrierScope::kBuffers);
                    encode(encoder, 1);
                  })
        ->wait_until_completed();
  }

  std::unique_ptr<Bench> bench_;
  Owned<MTLHeap> heap_;
  Owned<MTLBuffer> memory_;
  Owned<MTLBuffer> params_;
  Owned<MTLComputePipelineState> pipeline_;
  std::vector<Launch> launches_;
};

// x = 2 has norm 1, times 3; and again.
TEST_P(MetalDialect, Metal4RunsKernelsThatFindTheirBuffersByAddress) {
  make_resident();
  run4(true);
  EXPECT_THAT(violation_texts(), IsEmpty());
  EXPECT_THAT(result(), Each(testing::FloatNear(3.0F, 1e-4F)));
}

TEST_P(MetalDialect, Metal3RunsThemWithASetOfTheQueue) {
  make_resident();
  bench_->queue->add_residency_set(bench_->residents.get());
  run3([](MTLComputeCommandEncoder*) {});
  EXPECT_THAT(violation_texts(), IsEmpty());
  EXPECT_THAT(result(), Each(testing::FloatNear(3.0F, 1e-4F)));
}

TEST_P(MetalDialect, Metal3RunsThemWithWhatTheEncoderNames) {
  run3([this](MTLComputeCommandEncoder* encoder) { encoder->use_heap(heap_.get()); });
  run3([this](MTLComputeCommandEncoder* encoder) {
    encoder->use_resource(memory_.get(), MTLResourceUsage::kReadWrite);
  });
  EXPECT_THAT(violation_texts(), IsEmpty());
  EXPECT_THAT(result(), Each(testing::FloatNear(3.0F, 1e-4F)));
}

TEST_P(MetalDialect, AnAddressThatIsNotResidentIsToldByBothMetals) {
  run4(true);
  EXPECT_THAT(violation_texts(), testing::AllOf(Not(IsEmpty()), Each(HasSubstr("not-resident"))));
  Runtime::get().clear_violations();
  run3([](MTLComputeCommandEncoder*) {});
  EXPECT_THAT(violation_texts(), testing::AllOf(Not(IsEmpty()), Each(HasSubstr("not-resident"))));
}

TEST_P(MetalDialect, AnAddressOfNoBufferIsTold) {
  make_resident();
  launches_[0].params.buffers[2] = reinterpret_cast<void*>(uint64_t{64});
  write_params();
  run4(true);
  EXPECT_THAT(violation_texts(), testing::ElementsAre(HasSubstr("bad-address")));
}

TEST_P(MetalDialect, AMissingBarrierBetweenAddressesIsTold) {
  make_resident();
  run4(false);
  EXPECT_THAT(violation_texts(), testing::ElementsAre(HasSubstr("missing-barrier")));
}

TEST_P(MetalDialect, AMissingBarrierBetweenCommitsIsTold) {
  make_resident();
  for (const size_t launch : {0, 1}) {
    bench_->commit4([&](MTL4ComputeCommandEncoder* encoder) { encode(encoder, launch); });
  }
  bench_->finish4();
  EXPECT_THAT(violation_texts(), testing::ElementsAre(HasSubstr("missing-barrier")));
}

TEST_P(MetalDialect, RowsPastTheBufferAreTold) {
  make_resident();
  ops::StepHeader header{1 << 20, 0, 0, 0};
  std::memcpy(at(kStep), &header, sizeof(header));
  run4(true);
  EXPECT_THAT(violation_texts(), Each(HasSubstr("range: kr_rms_norm")));
  EXPECT_THAT(violation_texts(), Not(IsEmpty()));
}

TEST_P(MetalDialect, WhatTheEmulatorFindsIsTold) {
  make_resident();
  launches_[0].threads = 33;
  run4(true);
  EXPECT_THAT(violation_texts(), testing::ElementsAre(HasSubstr("kernel-fault")));
}

// Of three rows the first and the last are a prompt's.
TEST(MetalDialectUses, TheTwoLaunchesOfAMatmulWriteDifferentRows) {
  const auto layout = ops::step_layout(3, 1);
  std::vector<std::byte> step(layout.pages_offset);
  const ops::StepHeader header{3, 0, 0, 0};
  std::memcpy(step.data(), &header, sizeof(header));
  for (const uint32_t row : {0U, 2U}) {
    const ops::StepRow prompt{0, row, 0, 0, ops::kRowPrompt};
    std::memcpy(step.data() + layout.rows_offset + row * sizeof(prompt), &prompt, sizeof(prompt));
  }
  kernels::GpuDispatch dispatch;
  dispatch.op = ops::Op::kMatmul;
  const ops::MatmulArgs args{{8, 32, ops::WeightFormat::kF32, ops::FloatType::kF32, 0},
                             ops::RowCount::kRows,
                             ops::kMatmulPrompts};
  std::memcpy(dispatch.args, &args, sizeof(args));
  dispatch.buffers[0] = step.data();
  dispatch.bytes[1] = 3 * 32 * sizeof(float);
  const uint64_t row_bytes = 8 * sizeof(float);
  std::vector<std::vector<uint64_t>> written;
  for (const Launch& launch : kernels::metal::plan_launches({&dispatch, 1}, {}, nullptr)) {
    const auto id = static_cast<kernels::single_source::KernelId>(launch.kernel);
    written.emplace_back();
    for (const DialectUse& use : dialect_uses(id, launch.params, launch.grid)) {
      if (!use.writes) continue;
      EXPECT_EQ(use.buffer, 6U);
      EXPECT_EQ(use.bytes, row_bytes);
      written.back().push_back(use.begin);
    }
  }
  const std::vector<std::vector<uint64_t>> expected = {{0, 2 * row_bytes}, {row_bytes}};
  EXPECT_EQ(written, expected);
}

INSTANTIATE_TEST_SUITE_P(Orders, MetalDialect, testing::Range(1U, 5U));

}  // namespace
}  // namespace krserve::fake_metal
