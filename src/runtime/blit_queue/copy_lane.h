// One direction of the blit queue: its device queue, its timeline, its staging ring, and who may
// use them next.
#pragma once

#include <array>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>

#include "config/runtime_config.h"
#include "device/device.h"
#include "runtime/blit_queue/blit_meter.h"
#include "runtime/blit_queue/copy_list.h"
#include "runtime/blit_queue/staging_ring.h"
#include "runtime/blit_queue/transfers.h"

namespace krserve::runtime {

// What a caller asked for; exactly one of host_src, fill, host_dst and pairs is set.
struct LaneTransfer {
  BufferView device_view;
  const std::byte* host_src = nullptr;
  const BlitFill* fill = nullptr;
  std::byte* host_dst = nullptr;
  // Instead of device_view. The host's ends are Storage::kStaging: the device copies from or to
  // them itself.
  std::span<const ViewPair> pairs;
  TimelinePoint after;
  BlitPriority priority = BlitPriority::kStep;

  uint64_t bytes() const { return pairs.empty() ? device_view.bytes : bytes_of(pairs); }
};

// Asked before staging memory is taken; throws OutOfMemoryError to refuse it.
using StagingBudget = std::function<void(uint64_t bytes)>;

class CopyLane {
 public:
  CopyLane(std::shared_ptr<Device> device, BlitDirection direction, const BlitQueueConfig& config,
           StagingBudget budget, BlitMeter& meter);
  // Waits up to ten seconds for what is pending; the rest fails.
  ~CopyLane();

  // Takes the staging memory, unless it is there.
  void prepare();
  // Queues the transfer in pieces, waiting for room; the value of its last piece. Throws
  // DeviceError, OutOfMemoryError and what `fill` throws; then no memory of the caller is used any
  // more.
  uint64_t submit(const LaneTransfer& transfer);
  TimelinePoint completion(uint64_t value);
  // Until the transfer has landed. `counted`: a wait that blocks goes to the statistics.
  WaitResult wait(uint64_t value, std::chrono::nanoseconds timeout, bool counted = true);
  // A point that covers all that is pending now.
  uint64_t last_value();
  void cancel(uint64_t value);
  bool is_pending(const BufferView& device_view);
  uint32_t depth() const;
  uint64_t staging_bytes() const;
  // No lock is held during the wait.
  WaitResult wait_point(const TimelinePoint& point, std::chrono::nanoseconds timeout, bool counted);
  // With one clock for all parts of a time-out.
  uint64_t clock_ns() const;

 private:
  using Lock = std::unique_lock<std::mutex>;
  static constexpr uint64_t kCallersOwn = UINT64_MAX;

  // The host's end of a device copy: a region of the staging ring, or the caller's own.
  struct Staged {
    uint64_t offset = kCallersOwn;
    BufferView view;  // of a region

    bool is_callers() const { return offset == kCallersOwn; }
  };
  struct Operation {
    uint64_t value;
    uint64_t transfer;  // of which it is a piece
    std::shared_ptr<CommandBuffer> commands;
    std::vector<ViewPair> copies;
    Staged staged;
    std::byte* host_dst = nullptr;  // downloads: filled when retired, null if cancelled
    bool landing = false;           // being copied to host_dst, without the lock
    TraceInterval interval;
  };
  // Small uploads to adjacent places, not committed yet: one copy for all of them.
  struct OpenBatch {
    uint64_t value;
    uint64_t transfer;
    BufferView device_view;
    Staged staged;
    BlitPriority priority;
  };
  // A transfer on its way through submit().
  struct Progress {
    uint64_t transfer = 0;
    uint64_t value = 0;                  // of the last piece committed; 0 = none yet
    std::shared_ptr<Timeline> timeline;  // on which
  };

  void prepare_locked(Lock& lock);
  uint64_t piece_bytes(BlitPriority priority) const;
  void submit_pieces(Lock& lock, const LaneTransfer& transfer, Progress& progress);
  void submit_list(Lock& lock, const LaneTransfer& list, Progress& progress);
  void submit_piece(Lock& lock, const LaneTransfer& piece, uint64_t at, Progress& progress);
  void stage(Lock& lock, const LaneTransfer& piece, uint64_t at, const Staged& staged);
  void commit(Lock& lock, const LaneTransfer& piece, const Staged& staged, Progress& progress);
  void commit_copies(const LaneTransfer& piece, const Staged& staged, uint64_t transfer);

  bool join_or_open(const LaneTransfer& transfer, uint64_t& value);
  bool joins(const OpenBatch& batch, const LaneTransfer& transfer) const;
  // Commits the open batch. Its own waiters get the error if that is refused.
  void flush();

  Staged reserve(Lock& lock, const LaneTransfer& piece, Progress& progress);
  bool try_reserve(const LaneTransfer& piece, Staged& out, BlitStall& cause);
  bool is_someone_more_urgent(BlitPriority priority) const;
  void wait_for_room(Lock& lock, BlitPriority priority, Progress& progress);
  void give_back(const Staged& staged);

  void start_afresh(Lock& lock);
  void recover(const std::shared_ptr<Timeline>& broken);
  void check_not_lost(const Progress& progress) const;
  void retire(Lock& lock);
  void land(Lock& lock, Operation& operation);
  void wait_until_landed(Lock& lock);
  // No piece of the transfer reaches its destination from now on.
  void forget(Lock& lock, uint64_t transfer);
  TimelinePoint point(uint64_t value) const;
  const BufferView& device_end(const ViewPair& copy) const;
  const char* name() const;

  const std::shared_ptr<Device> device_;
  const BlitDirection direction_;
  const BlitQueueConfig config_;
  const StagingBudget budget_;
  BlitMeter& meter_;

  mutable std::mutex mutex_;
  // Room was made, an operation was committed or has landed, somebody urgent was served.
  std::condition_variable changed_;
  std::shared_ptr<Queue> queue_;
  std::shared_ptr<Timeline> timeline_;
  // Timelines replaced after an error, by the last value that counts on them.
  std::map<uint64_t, std::shared_ptr<Timeline>> failed_;
  // Poisoned timelines of batches whose commit was refused.
  std::map<uint64_t, std::shared_ptr<Timeline>> refused_;
  uint64_t last_value_ = 0;
  uint64_t last_transfer_ = 0;
  std::unique_ptr<Buffer> staging_;
  std::unique_ptr<StagingRing> ring_;
  std::deque<Operation> pending_;
  std::optional<OpenBatch> open_;
  uint32_t in_use_ = 0;  // regions taken: pending, open, or being filled
  std::array<uint32_t, kBlitPriorities> waiting_{};
};

}  // namespace krserve::runtime
