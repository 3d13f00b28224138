// BlitQueue: asynchronous transfers with staging memory, priorities and back-pressure.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "config/runtime_config.h"
#include "device/device.h"
#include "runtime/blit_queue/blit_meter.h"
#include "runtime/blit_queue/callback_thread.h"
#include "runtime/blit_queue/copy_lane.h"
#include "runtime/blit_queue/pacer.h"
#include "runtime/blit_queue/transfers.h"

namespace krserve::runtime {

// Thread-safe.
class BlitQueue final : public Transfers {
 public:
  // Without unified memory the staging buffers are taken here, else on first use; `budget` is asked
  // before. Throws DeviceError or OutOfMemoryError when queue or staging buffer cannot be had.
  BlitQueue(std::shared_ptr<Device> device, const BlitQueueConfig& config,
            const StagingBudget& budget = {});
  // Callbacks that are left get an error.
  ~BlitQueue() override;

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
  TimelinePoint completion(BlitId id) override;
  void on_complete(BlitId id, BlitCallback callback) override;
  WaitResult wait(BlitId id, std::chrono::nanoseconds timeout = kNoTimeout) override;
  WaitResult wait_all(std::chrono::nanoseconds timeout = kNoTimeout) override;
  void cancel(BlitId id) override;
  void add_compute(Timestamps compute) override;
  void add_mapped(uint64_t bytes) override;
  void set_trace(std::shared_ptr<TraceRecorder> trace) override {
    meter_.set_trace(std::move(trace));
  }
  BlitStatistics statistics() const override;
  void reset_statistics() override;

 private:
  struct HostCopy {
    std::byte* dst;
    const std::byte* src;
    uint64_t bytes;
  };
  // A download that is a plain read of shared memory once `after` is reached.
  struct SharedRead {
    std::vector<HostCopy> copies;
    TimelinePoint after;
    BlitPriority priority;
    bool landing = false;  // being copied, without the lock
  };
  using Lock = std::unique_lock<std::mutex>;

  BlitId submit_upload(const LaneTransfer& transfer);
  BlitId submit_download(const LaneTransfer& transfer);
  bool is_host_memory(const BufferView& view) const;
  bool upload_no_copy(const LaneTransfer& transfer);
  bool upload_no_copy(std::span<const ViewPair> pairs, const TimelinePoint& after,
                      BlitPriority priority);
  bool can_store(const BufferView& dst, const TimelinePoint& after);
  void store(const BufferView& dst, const std::byte* src, const BlitFill* fill);
  BlitId add_shared_read(SharedRead read);
  uint64_t read_shared(const SharedRead& read);
  WaitResult wait_for(BlitId id, std::chrono::nanoseconds timeout, bool counted);
  WaitResult wait_shared_read(uint64_t key, std::chrono::nanoseconds timeout, bool counted);
  void land(Lock& lock, uint64_t key);
  void forget_shared_read(uint64_t key);
  void pace(BlitPriority priority, uint64_t bytes);
  CallbackThread& callbacks_of(BlitId id);
  void log_no_copy(const char* what, uint64_t bytes, BlitPriority priority) const;

  std::shared_ptr<Device> device_;
  const BlitQueueConfig config_;
  BlitMeter meter_;
  Pacer pacer_;
  std::unique_ptr<CopyLane> up_;
  std::unique_ptr<CopyLane> down_;

  std::mutex reads_mutex_;
  std::condition_variable read_landed_;
  uint64_t last_shared_read_ = 0;
  std::map<uint64_t, SharedRead> shared_reads_;

  CallbackThread up_callbacks_;
  CallbackThread down_callbacks_;
};

}  // namespace krserve::runtime
