// A copy queue of the Metal device: a thread that copies, as host and GPU have one memory. Only
// what is the GPU's alone goes over the GPU, beside the compute queue's work.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "device/metal/metal_context.h"
#include "device/queue.h"

namespace krserve {

class MetalCommandBuffer;
class MetalTransfer;

class MetalCopyQueue final : public Queue {
 public:
  // Throws DeviceError.
  MetalCopyQueue(std::shared_ptr<MetalContext> context, QueueKind kind);
  // What has not begun fails.
  ~MetalCopyQueue() override;

  QueueKind kind() const override { return kind_; }
  std::shared_ptr<CommandBuffer> begin(CommandBufferUse use, std::string_view label) override;
  void commit(const std::shared_ptr<CommandBuffer>& commands, std::span<const TimelinePoint> waits,
              std::span<const TimelinePoint> signals) override;
  bool wait_idle(std::chrono::nanoseconds timeout) override;

 private:
  struct Submission {
    std::shared_ptr<MetalCommandBuffer> commands;
    std::vector<TimelinePoint> waits;
    std::vector<TimelinePoint> signals;
  };

  void thread_loop();
  bool next(Submission& out);
  void wait_for(const Submission& submission) const;
  void execute(const Submission& submission);
  void run(const MetalCommandBuffer& commands);

  const std::shared_ptr<MetalContext> context_;
  const QueueKind kind_;
  std::unique_ptr<MetalTransfer> transfer_;  // made by the thread when it is needed
  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable idle_;
  std::deque<Submission> submissions_;
  size_t pending_ = 0;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace krserve
