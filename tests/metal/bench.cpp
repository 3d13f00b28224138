#include "metal/bench.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "metal/fake/kernels.h"

namespace krserve::fake_metal {
namespace {

using namespace metal;

constexpr const char* kSource = "kernel void axpy(device float* y, device const float* x)";
constexpr NSUInteger kBytes = kElements * sizeof(float);
constexpr NSUInteger kQueueDepth = 64;
constexpr uint64_t kPatienceMs = 10'000;

void run_axpy(const Launch& launch) {
  auto* const y = reinterpret_cast<float*>(launch.buffers[0]);
  const auto* const x = reinterpret_cast<const float*>(launch.buffers[1]);
  const float scale = *reinterpret_cast<const float*>(launch.buffers[2]);
  const NSUInteger count = launch.groups.width * launch.threads.width;
  for (NSUInteger i = 0; i < count; ++i) y[i] += scale * x[i];
}

uint64_t vector_bytes(const Launch& launch) {
  return launch.groups.width * launch.threads.width * sizeof(float);
}

uint64_t scale_bytes(const Launch&) {
  return sizeof(float);
}

// What the tests provoke is no reason to end the program badly.
class ForgetViolations : public testing::Environment {
 public:
  void TearDown() override { Gpu::get().reset(); }
};
[[maybe_unused]] const auto* const kForget =
    testing::AddGlobalTestEnvironment(new ForgetViolations);

Owned<MTLComputePipelineState> make_pipeline(MTLDevice& device) {
  const auto options = make_object<MTLCompileOptions>();
  options->set_language_version(MTLLanguageVersion::k3_2);
  options->set_math_mode(MTLMathMode::kSafe);
  NSError* error = nullptr;
  const Owned<MTLLibrary> library(
      device.new_library(NSString::from(kSource), options.get(), &error));
  const Owned<MTLFunction> function(library->new_function(NSString::from("axpy")));
  return Owned<MTLComputePipelineState>(device.new_pipeline(function.get(), &error));
}

}  // namespace

Bench::Bench(const Options& options) {
  Gpu::get().reset(options);
  register_kernel({"axpy",
                   {{0, true, vector_bytes}, {1, false, vector_bytes}, {2, false, scale_bytes}},
                   0,
                   run_axpy});
  device = Owned<MTLDevice>(MTLCreateSystemDefaultDevice());
  pipeline = make_pipeline(*device.get());
  x = new_buffer(kBytes);
  y = new_buffer(kBytes);
  scale = new_buffer(sizeof(float));
  std::fill_n(floats(x.get()), kElements, 1.0F);
  std::fill_n(floats(y.get()), kElements, 0.0F);
  *floats(scale.get()) = 1.0F;
  event = Owned<MTLSharedEvent>(device->new_shared_event());
  queue = Owned<MTLCommandQueue>(device->new_command_queue(kQueueDepth));
  if (!options.metal4()) return;
  queue4 = Owned<MTL4CommandQueue>(device->new_command_queue4());
  allocator = Owned<MTL4CommandAllocator>(device->new_command_allocator());
  commands4 = Owned<MTL4CommandBuffer>(device->new_command_buffer4());
  const auto descriptor = make_object<MTL4ArgumentTableDescriptor>();
  descriptor->set_max_buffer_bind_count(3);
  table = Owned<MTL4ArgumentTable>(device->new_argument_table(descriptor.get(), nullptr));
  residents = new_residency_set();
  for (const MTLBuffer* buffer : {x.get(), y.get(), scale.get()}) residents->add(buffer);
  residents->commit();
  residents->request_residency();
  queue4->add_residency_set(residents.get());
}

Owned<MTLBuffer> Bench::new_buffer(NSUInteger bytes, MTLResourceOptions options) {
  return Owned<MTLBuffer>(device->new_buffer(bytes, options));
}

Owned<MTLHeap> Bench::new_heap(NSUInteger bytes, MTLHazardTrackingMode hazards) {
  const auto descriptor = make_object<MTLHeapDescriptor>();
  descriptor->set_type(MTLHeapType::kPlacement);
  descriptor->set_storage_mode(MTLStorageMode::kShared);
  descriptor->set_hazard_tracking_mode(hazards);
  descriptor->set_size(bytes);
  return Owned<MTLHeap>(device->new_heap(descriptor.get()));
}

Owned<MTLResidencySet> Bench::new_residency_set() {
  const auto descriptor = make_object<MTLResidencySetDescriptor>();
  descriptor->set_initial_capacity(4);
  return Owned<MTLResidencySet>(device->new_residency_set(descriptor.get(), nullptr));
}

void Bench::axpy(MTLComputeCommandEncoder* encoder, MTLBuffer* to, MTLBuffer* from) {
  const float one = 1.0F;
  encoder->set_pipeline(pipeline.get());
  encoder->set_buffer(to, 0, 0);
  encoder->set_buffer(from, 0, 1);
  encoder->set_bytes(&one, sizeof(one), 2);
  encoder->dispatch({kElements / 32, 1, 1}, {32, 1, 1});
}

void Bench::axpy(MTL4ComputeCommandEncoder* encoder, MTLBuffer* to, MTLBuffer* from) {
  table->set_address(to->gpu_address(), 0);
  table->set_address(from->gpu_address(), 1);
  table->set_address(scale->gpu_address(), 2);
  encoder->set_pipeline(pipeline.get());
  encoder->set_argument_table(table.get());
  encoder->dispatch({kElements / 32, 1, 1}, {32, 1, 1});
}

MTLCommandBuffer* Bench::commit3(MTLDispatchType type,
                                 const std::function<void(MTLComputeCommandEncoder*)>& encode) {
  MTLCommandBuffer* const commands = queue->command_buffer();
  MTLComputeCommandEncoder* const encoder = commands->compute_encoder(type);
  encode(encoder);
  encoder->end_encoding();
  commands->commit();
  return commands;
}

void Bench::commit4(const std::function<void(MTL4ComputeCommandEncoder*)>& encode,
                    const MTL4CommitOptions* options) {
  commands4->begin(allocator.get());
  MTL4ComputeCommandEncoder* const encoder = commands4->compute_encoder();
  encode(encoder);
  encoder->end_encoding();
  commands4->end();
  const MTL4CommandBuffer* const list[] = {commands4.get()};
  if (options) {
    queue4->commit(list, 1, options);
  } else {
    queue4->commit(list, 1);
  }
}

void Bench::finish4() {
  queue4->signal(event.get(), ++event_value);
  event->wait_until(event_value, kPatienceMs);
}

std::vector<std::string> violation_texts() {
  std::vector<std::string> texts;
  for (const Violation& one : Runtime::get().violations()) {
    texts.push_back(std::string(rule_name(one.rule)) + ": " + one.text);
  }
  return texts;
}

}  // namespace krserve::fake_metal
