// Timeline of the CUDA device: the value as the host knows it, and who on a stream will raise it.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "device/cuda/cuda_context.h"
#include "device/timeline.h"
#include "device/timeline_value.h"

namespace krserve {

class CudaTimeline final : public Timeline {
 public:
  explicit CudaTimeline(std::shared_ptr<CudaContext> context) : context_(std::move(context)) {}

  uint64_t value() const override;
  void signal(uint64_t value) override;
  WaitResult wait(uint64_t value, std::chrono::nanoseconds timeout) override;
  void poison(const std::string& message) override;
  std::optional<std::string> error() const override;
  std::optional<uint64_t> reached_at_ns(uint64_t value) const override;

  const CudaContext& context() const { return *context_; }
  // A commit that signals it is under way; -1 when that is over.
  void count_pending(int change) { pending_.fetch_add(change, std::memory_order_relaxed); }

  // With the context's mutex held.

  // What is on a stream and will raise the value when `event` comes.
  struct Producer {
    uint64_t value;
    const CudaLane* lane;
    uint64_t number;
    cudaEvent_t event;
  };
  TimelineValue& known() { return known_; }
  const TimelineValue& known() const { return known_; }
  // Null if nobody will yet; one on `lane` is preferred, as it needs no wait.
  const Producer* producer_of(uint64_t value, const CudaLane* lane) const;
  void add_producer(const Producer& producer) { producers_.push_back(producer); }
  void remove_producers(const CudaLane* lane, uint64_t number);

 private:
  const std::shared_ptr<CudaContext> context_;
  std::atomic<int> pending_{0};
  TimelineValue known_;
  std::vector<Producer> producers_;
};

}  // namespace krserve
