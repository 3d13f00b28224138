// DirectBlit: what transfers are without the blit queue.
#pragma once

#include <memory>
#include <mutex>

#include "device/device.h"
#include "runtime/blit_queue/blit_meter.h"
#include "runtime/blit_queue/transfers.h"

namespace krserve::runtime {

// The baseline: every transfer is a copy that the host waits for at once.
class DirectBlit final : public Transfers {
 public:
  explicit DirectBlit(std::shared_ptr<Device> device);

  BlitId upload(const BufferView& dst, const void* src, uint64_t bytes,
                const TimelinePoint& after = {},
                BlitPriority priority = BlitPriority::kStep) override;
  BlitId upload_from(const BufferView& dst, uint64_t bytes, const BlitFill& fill,
                     const TimelinePoint& after = {},
                     BlitPriority priority = BlitPriority::kWeights) override;
  BlitId download(void* dst, const BufferView& src, uint64_t bytes, const TimelinePoint& after = {},
                  BlitPriority priority = BlitPriority::kStep) override;
  using Transfers::download_staged;
  using Transfers::upload_staged;
  BlitId upload_staged(std::span<const ViewPair> pairs, const TimelinePoint& after = {},
                       BlitPriority priority = BlitPriority::kKv) override;
  BlitId download_staged(std::span<const ViewPair> pairs, const TimelinePoint& after = {},
                         BlitPriority priority = BlitPriority::kKv) override;
  TimelinePoint completion(BlitId) override { return {}; }
  void on_complete(BlitId, BlitCallback callback) override { callback(std::nullopt); }
  WaitResult wait(BlitId, std::chrono::nanoseconds) override { return WaitResult::kReached; }
  WaitResult wait_all(std::chrono::nanoseconds) override { return WaitResult::kReached; }
  void cancel(BlitId) override {}
  void add_compute(Timestamps compute) override { meter_.add_compute(compute); }
  void add_mapped(uint64_t bytes) override { meter_.add_mapped(bytes); }
  void set_trace(std::shared_ptr<TraceRecorder> trace) override {
    meter_.set_trace(std::move(trace));
  }
  BlitStatistics statistics() const override { return meter_.snapshot(); }
  void reset_statistics() override { meter_.reset(); }

 private:
  void copy_and_wait(BlitDirection direction, std::span<const ViewPair> copies,
                     const TimelinePoint& after);
  void copy_and_wait(BlitDirection direction, const BufferView& dst, const BufferView& src,
                     const TimelinePoint& after) {
    const ViewPair copy{dst, src};
    copy_and_wait(direction, {&copy, 1}, after);
  }
  BlitId copy_list(BlitDirection direction, std::span<const ViewPair> pairs,
                   const TimelinePoint& after);

  std::shared_ptr<Device> device_;
  std::mutex turn_mutex_;  // one copy at a time
  std::shared_ptr<Queue> up_;
  std::shared_ptr<Queue> down_;
  std::shared_ptr<Timeline> timeline_;
  uint64_t last_value_ = 0;
  BlitMeter meter_{true};
};

}  // namespace krserve::runtime
