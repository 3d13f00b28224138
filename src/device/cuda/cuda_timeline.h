// Timeline of the CUDA device: the value as the host knows it, and who on a stream will raise it.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "device/cuda/cuda_context.h"
#include "device/reached_times.h"
#include "device/timeline.h"

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
  bool has_reached(uint64_t value) const { return value_.load(std::memory_order_relaxed) >= value; }
  bool is_poisoned() const { return !message_.empty(); }
  const std::string& message() const { return message_; }
  // Null if nobody will yet; one on `lane` is preferred, as it needs no wait.
  const Producer* producer_of(uint64_t value, const CudaLane* lane) const;
  void add_producer(const Producer& producer) { producers_.push_back(producer); }
  void remove_producers(const CudaLane* lane, uint64_t number);
  void signal_locked(uint64_t value, uint64_t at_ns);
  void poison_locked(const std::string& message);
  std::optional<uint64_t> reached_at_locked(uint64_t value) const { return reached_at_.of(value); }

 private:
  const std::shared_ptr<CudaContext> context_;
  std::atomic<uint64_t> value_{0};
  std::atomic<int> pending_{0};
  std::string message_;
  std::vector<Producer> producers_;
  ReachedTimes reached_at_;
};

}  // namespace krserve
