// A queue of the CPU device: a thread that runs command buffers in commit order.
#pragma once

#include <functional>

#include "device/command_thread.h"
#include "device/cpu/command_list.h"
#include "device/queue.h"

namespace krserve {

class CpuQueue final : public Queue {
 public:
  // Runs the commands of one buffer; throws to fail it.
  using Runner = std::function<void(CpuCommandBuffer&)>;

  CpuQueue(QueueKind kind, uint32_t spin_us, Runner runner);

  QueueKind kind() const override { return kind_; }
  std::shared_ptr<CommandBuffer> begin(CommandBufferUse use, std::string_view label) override;
  void commit(const std::shared_ptr<CommandBuffer>& commands, std::span<const TimelinePoint> waits,
              std::span<const TimelinePoint> signals) override;
  bool wait_idle(std::chrono::nanoseconds timeout) override { return thread_.wait_idle(timeout); }

 private:
  const QueueKind kind_;
  const Runner runner_;
  CommandThread thread_;  // last: it uses the others until it ends
};

}  // namespace krserve
