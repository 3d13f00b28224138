// A copy queue of the Metal device: a thread that copies, as host and GPU have one memory. Only
// what is the GPU's alone goes over the GPU, beside the compute queue's work.
#pragma once

#include <memory>

#include "device/command_thread.h"
#include "device/metal/metal_context.h"
#include "device/queue.h"

namespace krserve {

class MetalCommandBuffer;
class MetalTransfer;

class MetalCopyQueue final : public Queue {
 public:
  // Throws DeviceError.
  MetalCopyQueue(std::shared_ptr<MetalContext> context, QueueKind kind);
  ~MetalCopyQueue() override;

  QueueKind kind() const override { return kind_; }
  std::shared_ptr<CommandBuffer> begin(CommandBufferUse use, std::string_view label) override;
  void commit(const std::shared_ptr<CommandBuffer>& commands, std::span<const TimelinePoint> waits,
              std::span<const TimelinePoint> signals) override;
  bool wait_idle(std::chrono::nanoseconds timeout) override { return thread_.wait_idle(timeout); }

 private:
  void run(const MetalCommandBuffer& commands);

  const std::shared_ptr<MetalContext> context_;
  const QueueKind kind_;
  std::unique_ptr<MetalTransfer> transfer_;  // made when it is needed
  CommandThread thread_;                     // last: it uses the others until it ends
};

}  // namespace krserve
