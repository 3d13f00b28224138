// A queue of the CUDA device: a stream, and what is to go there.
#pragma once

#include <memory>

#include "device/cuda/cuda_context.h"
#include "device/cuda/cuda_lane.h"
#include "device/cuda/cuda_program.h"
#include "device/queue.h"

namespace krserve {

class CudaQueue final : public Queue {
 public:
  // Throws DeviceError.
  CudaQueue(std::shared_ptr<CudaContext> context, QueueKind kind);
  // What is not on the stream fails. What is may end.
  ~CudaQueue() override;

  QueueKind kind() const override { return lane_->kind(); }
  std::shared_ptr<CommandBuffer> begin(CommandBufferUse use, std::string_view label) override;
  void commit(const std::shared_ptr<CommandBuffer>& commands, std::span<const TimelinePoint> waits,
              std::span<const TimelinePoint> signals) override;
  bool wait_idle(std::chrono::nanoseconds timeout) override;

 private:
  void check_points(std::span<const TimelinePoint> points) const;
  void submit(CudaSubmission submission);
  void abandon();
  void close();

  const std::shared_ptr<CudaContext> context_;
  std::shared_ptr<CudaLane> lane_;
  std::shared_ptr<CudaPlanner> planner_;
};

}  // namespace krserve
