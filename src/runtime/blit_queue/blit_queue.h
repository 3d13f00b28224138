// BlitQueue: the only way bytes move between host and device memory; asynchronous, with
// back-pressure.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <span>

#include "config/runtime_config.h"
#include "device/device.h"
#include "runtime/blit_queue/overlap_tracker.h"
#include "runtime/blit_queue/staging_ring.h"
#include "runtime/statistics.h"
#include "runtime/trace/trace.h"

namespace krserve::runtime {

// 0 is "nothing to wait for".
using BlitId = uint64_t;

// Where the engine's transfers go: BlitQueue, or DirectBlit when the queue is off.
class Transfers {
 public:
  Transfers() = default;
  Transfers(const Transfers&) = delete;
  Transfers& operator=(const Transfers&) = delete;
  virtual ~Transfers() = default;

  // Copies `bytes` from src to dst, not before `after`. `src` may be reused on return. Uploads to
  // the same place happen in the order of the calls. Both throw DeviceError when refused or `bytes`
  // is more than the view has.
  virtual BlitId upload(const BufferView& dst, const void* src, uint64_t bytes,
                        const TimelinePoint& after = {}) = 0;
  // Copies src to dst, not before `after`; dst is valid and may be read once wait() returned.
  virtual BlitId download(void* dst, const BufferView& src, uint64_t bytes,
                          const TimelinePoint& after = {}) = 0;
  // What a command buffer waits for to see the upload.
  virtual TimelinePoint completion(BlitId id) const = 0;
  // kTimeout leaves the transfer pending. Throws DeviceError if it failed.
  virtual WaitResult wait(BlitId id, std::chrono::nanoseconds timeout = kNoTimeout) = 0;
  virtual WaitResult wait_all(std::chrono::nanoseconds timeout = kNoTimeout) = 0;
  // For a download nobody waits for any more: once this returns, its dst is not written.
  virtual void cancel(BlitId id) = 0;
  // A step's time on the compute queue, for the overlap ratio.
  virtual void add_compute(Timestamps compute) = 0;
  // Copies are recorded from now on. Before the first one.
  void set_trace(std::shared_ptr<TraceRecorder> trace) { trace_ = std::move(trace); }

  virtual BlitStatistics statistics() const = 0;
  virtual void reset_statistics() = 0;

 protected:
  static void check_size(const BufferView& view, uint64_t bytes);

  std::shared_ptr<TraceRecorder> trace_;
};

class BlitQueue final : public Transfers {
 public:
  // Throws DeviceError or OutOfMemoryError when queue or staging buffer cannot be had.
  BlitQueue(std::shared_ptr<Device> device, const BlitQueueConfig& config);
  ~BlitQueue() override;

  BlitId upload(const BufferView& dst, const void* src, uint64_t bytes,
                const TimelinePoint& after = {}) override;
  BlitId download(void* dst, const BufferView& src, uint64_t bytes,
                  const TimelinePoint& after = {}) override;
  TimelinePoint completion(BlitId id) const override;
  WaitResult wait(BlitId id, std::chrono::nanoseconds timeout = kNoTimeout) override;
  WaitResult wait_all(std::chrono::nanoseconds timeout = kNoTimeout) override;
  void cancel(BlitId id) override;
  void add_compute(Timestamps compute) override;
  BlitStatistics statistics() const override;
  void reset_statistics() override;

 private:
  struct Operation {
    uint64_t value;     // on the lane's timeline
    uint64_t transfer;  // of which it is a piece
    std::shared_ptr<CommandBuffer> commands;
    BufferView device_view;
    const std::byte* staged;
    std::byte* host_dst;  // downloads: filled when retired, null if cancelled
  };
  // One direction: its queue, its timeline, its staging memory.
  struct Lane {
    QueueKind kind;
    std::shared_ptr<Queue> queue;
    std::shared_ptr<Timeline> timeline;
    // Timelines replaced after an error, by the last value that counts on them.
    std::map<uint64_t, std::shared_ptr<Timeline>> failed;
    uint64_t last_value = 0;
    std::unique_ptr<Buffer> staging;  // made on first use
    std::unique_ptr<StagingRing> ring;
    std::deque<Operation> pending;  // one region of the ring each
  };
  // What a caller asked for; exactly one of the host pointers is set.
  struct Transfer {
    uint64_t number;
    BufferView device_view;
    const std::byte* host_src;
    std::byte* host_dst;
    Transfer piece(uint64_t at, uint64_t bytes) const {
      return {number, device_view.sub(at, bytes), host_src ? host_src + at : nullptr,
              host_dst ? host_dst + at : nullptr};
    }
  };
  // A download that is a plain read of shared memory once `after` is reached.
  struct SharedRead {
    std::byte* dst;
    const std::byte* src;
    uint64_t bytes;
    TimelinePoint after;
  };
  using Lock = std::unique_lock<std::mutex>;

  bool upload_no_copy(const BufferView& dst, const void* src, uint64_t bytes,
                      const TimelinePoint& after);
  uint64_t submit(Lane& lane, Transfer transfer, const TimelinePoint& after);
  // Queues one piece, which fits the staging ring.
  uint64_t submit_piece(Lock& lock, Lane& lane, const Transfer& piece, const TimelinePoint& after);
  std::shared_ptr<CommandBuffer> encode(Lane& lane, const Transfer& piece,
                                        const BufferView& staged);
  BufferView take_staging(Lock& lock, Lane& lane, uint64_t bytes);
  void prepare(Lane& lane);
  void replace_failed(Lane& lane);
  bool is_upload_pending(const BufferView& dst);
  // No piece of the transfer reaches its destination from now on.
  static void forget(Lane& lane, uint64_t transfer);
  void note_copy(Timestamps times, uint64_t& total_ns);
  void wait_for_oldest(Lock& lock, Lane& lane);
  void retire(Lane& lane);
  TimelinePoint point(const Lane& lane, uint64_t value) const;
  WaitResult wait_point(const TimelinePoint& point, std::chrono::nanoseconds timeout);
  WaitResult wait_shared_read(uint64_t key, std::chrono::nanoseconds timeout);

  std::shared_ptr<Device> device_;
  const BlitQueueConfig config_;
  mutable std::mutex mutex_;
  Lane up_;
  Lane down_;
  uint64_t last_transfer_ = 0;
  uint64_t last_shared_read_ = 0;
  std::map<uint64_t, SharedRead> shared_reads_;
  OverlapTracker overlap_;
  BlitStatistics counts_;
  uint64_t upload_ns_ = 0;
  uint64_t download_ns_ = 0;
  std::atomic<uint64_t> wait_ns_{0};
  std::atomic<uint64_t> sync_waits_{0};
};

// The baseline: every transfer is a copy that the host waits for at once.
class DirectBlit final : public Transfers {
 public:
  explicit DirectBlit(std::shared_ptr<Device> device);

  BlitId upload(const BufferView& dst, const void* src, uint64_t bytes,
                const TimelinePoint& after = {}) override;
  BlitId download(void* dst, const BufferView& src, uint64_t bytes,
                  const TimelinePoint& after = {}) override;
  TimelinePoint completion(BlitId) const override { return {}; }
  WaitResult wait(BlitId, std::chrono::nanoseconds) override { return WaitResult::kReached; }
  WaitResult wait_all(std::chrono::nanoseconds) override { return WaitResult::kReached; }
  void cancel(BlitId) override {}
  void add_compute(Timestamps compute) override;
  BlitStatistics statistics() const override;
  void reset_statistics() override;

 private:
  // Returns the time it took on the device.
  uint64_t copy_and_wait(Queue& queue, const BufferView& dst, const BufferView& src,
                         const TimelinePoint& after);

  std::shared_ptr<Device> device_;
  std::mutex turn_mutex_;     // one copy at a time
  mutable std::mutex mutex_;  // counters; never held during a wait
  std::shared_ptr<Queue> up_;
  std::shared_ptr<Queue> down_;
  std::shared_ptr<Timeline> timeline_;
  uint64_t last_value_ = 0;
  OverlapTracker overlap_;
  BlitStatistics counts_;
  uint64_t upload_ns_ = 0;
  uint64_t download_ns_ = 0;
  uint64_t wait_ns_ = 0;
};

}  // namespace krserve::runtime
