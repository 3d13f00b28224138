// Timeline of the Metal device: the value as the host knows it, and who on the GPU will raise it.
//
// The GPU's own waits go by the shared event of the queue that raises it (MetalPort): that one is
// raised by work that failed, too. The value here only counts what Metal has said ended well.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "device/metal/metal_context.h"
#include "device/reached_times.h"
#include "device/timeline.h"

namespace krserve {

class MetalTimeline final : public Timeline {
 public:
  explicit MetalTimeline(std::shared_ptr<MetalContext> context) : context_(std::move(context)) {}

  uint64_t value() const override { return value_.load(std::memory_order_acquire); }
  void signal(uint64_t value) override;
  WaitResult wait(uint64_t value, std::chrono::nanoseconds timeout) override;
  void poison(const std::string& message) override;
  std::optional<std::string> error() const override;
  std::optional<uint64_t> reached_at_ns(uint64_t value) const override;

  const MetalContext& context() const { return *context_; }

  // With the context's mutex held.

  // What is on the GPU and will raise the value when the lane's event has `event_value`.
  struct Producer {
    uint64_t value;
    MetalLane* lane;
    uint64_t event_value;
  };
  bool has_reached(uint64_t value) const { return value_.load(std::memory_order_relaxed) >= value; }
  bool is_poisoned() const { return !message_.empty(); }
  const std::string& message() const { return message_; }
  // Null if nobody will yet; one on `lane` is preferred, as it needs no wait.
  const Producer* producer_of(uint64_t value, const MetalLane* lane) const;
  void add_producer(const Producer& producer) { producers_.push_back(producer); }
  void remove_producers(const MetalLane* lane, uint64_t event_value);
  void signal_locked(uint64_t value, uint64_t at_ns);
  void poison_locked(const std::string& message);
  std::optional<uint64_t> reached_at_locked(uint64_t value) const { return reached_at_.of(value); }

 private:
  const std::shared_ptr<MetalContext> context_;
  std::atomic<uint64_t> value_{0};
  std::string message_;
  std::vector<Producer> producers_;
  ReachedTimes reached_at_;
};

}  // namespace krserve
