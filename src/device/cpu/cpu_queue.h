// A queue of the CPU device: a thread that runs command buffers in commit order.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "device/cpu/command_list.h"
#include "device/queue.h"

namespace krserve {

class CpuQueue final : public Queue {
 public:
  // Runs the commands of one buffer; throws to fail it.
  using Runner = std::function<void(CpuCommandBuffer&)>;

  CpuQueue(QueueKind kind, uint32_t spin_us, Runner runner);
  // Ends the running command buffer; those not started fail.
  ~CpuQueue() override;

  QueueKind kind() const override { return kind_; }
  std::shared_ptr<CommandBuffer> begin(CommandBufferUse use, std::string_view label) override;
  void commit(const std::shared_ptr<CommandBuffer>& commands, std::span<const TimelinePoint> waits,
              std::span<const TimelinePoint> signals) override;
  bool wait_idle(std::chrono::nanoseconds timeout) override;

 private:
  struct Submission {
    std::shared_ptr<CpuCommandBuffer> commands;
    std::vector<TimelinePoint> waits;
    std::vector<TimelinePoint> signals;
  };

  void thread_loop();
  bool next(Submission& out);
  void execute(Submission& submission);
  void wait_for(const Submission& submission) const;

  const QueueKind kind_;
  const uint64_t spin_ns_;
  const Runner runner_;
  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable idle_;
  std::deque<Submission> submissions_;
  std::atomic<uint32_t> pending_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace krserve
