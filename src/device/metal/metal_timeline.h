// Timeline of the Metal device: the value as the host knows it, and who on the GPU will raise it.
//
// The GPU's own waits go by the shared event of the queue that raises it (MetalPort): that one is
// raised by work that failed, too. The value here only counts what Metal has said ended well.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "device/metal/metal_context.h"
#include "device/timeline.h"
#include "device/timeline_value.h"

namespace krserve {

class MetalTimeline final : public Timeline {
 public:
  explicit MetalTimeline(std::shared_ptr<MetalContext> context) : context_(std::move(context)) {}

  uint64_t value() const override { return known_.get(); }
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
  TimelineValue& known() { return known_; }
  const TimelineValue& known() const { return known_; }
  // Null if nobody will yet; one on `lane` is preferred, as it needs no wait.
  const Producer* producer_of(uint64_t value, const MetalLane* lane) const;
  void add_producer(const Producer& producer) { producers_.push_back(producer); }
  void remove_producers(const MetalLane* lane, uint64_t event_value);

 private:
  const std::shared_ptr<MetalContext> context_;
  TimelineValue known_;
  std::vector<Producer> producers_;
};

}  // namespace krserve
