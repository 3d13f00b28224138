// What the tests of the model share: a device, kernels, buffers, and both Metals' queues.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "device/metal/api/device.h"
#include "metal/fake/gpu.h"

namespace krserve::fake_metal {

inline constexpr uint32_t kElements = 256;
inline constexpr metal::MTLResourceOptions kSharedUntracked =
    metal::MTLResourceOptions::kStorageModeShared |
    metal::MTLResourceOptions::kHazardTrackingModeUntracked;
inline constexpr auto kDispatchOnly = metal::MTLStages::kDispatch;
inline constexpr auto kAllStages = metal::MTLStages::kDispatch | metal::MTLStages::kBlit;
inline constexpr auto kVisible = metal::MTL4VisibilityOptions::kDevice;

// y[i] += scale * x[i] with y, x and scale bound at 0, 1 and 2.
struct Bench {
  // Resets the fake.
  explicit Bench(const Options& options = {});

  metal::Owned<metal::MTLBuffer> new_buffer(metal::NSUInteger bytes,
                                            metal::MTLResourceOptions options = kSharedUntracked);
  metal::Owned<metal::MTLHeap> new_heap(metal::NSUInteger bytes,
                                        metal::MTLHazardTrackingMode hazards);
  metal::Owned<metal::MTLResidencySet> new_residency_set();

  // Binds and dispatches axpy.
  void axpy(metal::MTLComputeCommandEncoder* encoder, metal::MTLBuffer* to, metal::MTLBuffer* from);
  void axpy(metal::MTL4ComputeCommandEncoder* encoder, metal::MTLBuffer* to,
            metal::MTLBuffer* from);

  // One command buffer of one encoder, committed; `encode` may leave it as it likes.
  metal::MTLCommandBuffer* commit3(
      metal::MTLDispatchType type,
      const std::function<void(metal::MTLComputeCommandEncoder*)>& encode);
  void commit4(const std::function<void(metal::MTL4ComputeCommandEncoder*)>& encode,
               const metal::MTL4CommitOptions* options = nullptr);
  // Signals the event on the Metal 4 queue and waits for it.
  void finish4();

  float* floats(metal::MTLBuffer* buffer) { return static_cast<float*>(buffer->contents()); }

  metal::AutoreleaseScope scope;
  metal::Owned<metal::MTLDevice> device;
  metal::Owned<metal::MTLComputePipelineState> pipeline;
  metal::Owned<metal::MTLBuffer> x;
  metal::Owned<metal::MTLBuffer> y;
  metal::Owned<metal::MTLBuffer> scale;
  metal::Owned<metal::MTLSharedEvent> event;
  uint64_t event_value = 0;
  metal::Owned<metal::MTLCommandQueue> queue;
  // Metal 4's, where the options have it.
  metal::Owned<metal::MTL4CommandQueue> queue4;
  metal::Owned<metal::MTL4CommandAllocator> allocator;
  metal::Owned<metal::MTL4CommandBuffer> commands4;
  metal::Owned<metal::MTL4ArgumentTable> table;
  metal::Owned<metal::MTLResidencySet> residents;
};

std::vector<std::string> violation_texts();

}  // namespace krserve::fake_metal
