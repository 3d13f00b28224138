// The compute queue of the Metal device.
#pragma once

#include <memory>

#include "device/metal/metal_context.h"
#include "device/metal/metal_lane.h"
#include "device/metal/metal_program.h"
#include "device/queue.h"

namespace krserve {

class MetalCommandBuffer;

// The command buffer as this back end's. Throws DeviceError for another's, and for timelines that
// are not the context's.
std::shared_ptr<MetalCommandBuffer> check_commit(const MetalContext& context,
                                                 const std::shared_ptr<CommandBuffer>& commands,
                                                 std::span<const TimelinePoint> waits,
                                                 std::span<const TimelinePoint> signals);

class MetalQueue final : public Queue {
 public:
  // Throws DeviceError.
  explicit MetalQueue(std::shared_ptr<MetalContext> context);
  // What is not on the GPU fails. What is may end.
  ~MetalQueue() override;

  QueueKind kind() const override { return QueueKind::kCompute; }
  std::shared_ptr<CommandBuffer> begin(CommandBufferUse use, std::string_view label) override;
  void commit(const std::shared_ptr<CommandBuffer>& commands, std::span<const TimelinePoint> waits,
              std::span<const TimelinePoint> signals) override;
  bool wait_idle(std::chrono::nanoseconds timeout) override;

 private:
  void close();

  const std::shared_ptr<MetalContext> context_;
  const std::shared_ptr<MetalLane> lane_;
  const std::shared_ptr<MetalPlanner> planner_;
};

}  // namespace krserve
