// Transfers: the only way bytes move between host and device memory; BlitQueue, or DirectBlit when
// the queue is off.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "device/buffer.h"
#include "device/queue.h"
#include "runtime/statistics.h"
#include "runtime/trace/trace.h"

namespace krserve::runtime {

// 0 is "nothing to wait for".
using BlitId = uint64_t;

// Most urgent first. All but kStep are background: they leave room in queue and staging memory for
// kStep, let it pass between two pieces, and are paced while steps run.
enum class BlitPriority : uint8_t { kStep, kKv, kWeights };
inline constexpr size_t kBlitPriorities = 3;
const char* to_string(BlitPriority priority);

// Writes bytes [at, at + bytes) of an upload to `out`, which the device copies from. May throw.
using BlitFill = std::function<void(std::byte* out, uint64_t at, uint64_t bytes)>;
// Gets the error of a transfer that failed or was cancelled.
using BlitCallback = std::function<void(const std::optional<std::string>& error)>;

// Two views of one size: src is copied to dst.
struct ViewPair {
  BufferView dst;
  BufferView src;
};

class Transfers {
 public:
  Transfers() = default;
  Transfers(const Transfers&) = delete;
  Transfers& operator=(const Transfers&) = delete;
  virtual ~Transfers() = default;

  // Copies `bytes` from src to dst, not before `after`. `src` may be reused on return. Uploads to
  // the same place happen in the order of the calls. An upload has started at the latest when
  // somebody asks for its completion. Throws DeviceError when refused or `bytes` is more than the
  // view has.
  virtual BlitId upload(const BufferView& dst, const void* src, uint64_t bytes,
                        const TimelinePoint& after = {},
                        BlitPriority priority = BlitPriority::kStep) = 0;
  // An upload whose bytes `fill` writes where the device reads them: without a copy on the host.
  // `fill` is called on this thread, once a piece, in order, with no lock held; several threads may
  // be in it at once. What it throws is thrown here, and the rest of the upload does not happen.
  virtual BlitId upload_from(const BufferView& dst, uint64_t bytes, const BlitFill& fill,
                             const TimelinePoint& after = {},
                             BlitPriority priority = BlitPriority::kWeights) = 0;
  // Copies src to dst, not before `after`; dst is valid and may be read once wait() returned.
  virtual BlitId download(void* dst, const BufferView& src, uint64_t bytes,
                          const TimelinePoint& after = {},
                          BlitPriority priority = BlitPriority::kStep) = 0;
  // The same two between device memory and views of Storage::kStaging, which the device copies
  // from or to itself: nothing passes through the host. All pairs are one transfer, in no order
  // among them: no two may write to one place. The list may go on return; the staging views are in
  // use until the transfer's end, also of one that is cancelled: cancel() waits for it then.
  // Throws DeviceError before anything starts if a pair's views differ in size.
  virtual BlitId upload_staged(std::span<const ViewPair> pairs, const TimelinePoint& after = {},
                               BlitPriority priority = BlitPriority::kKv) = 0;
  virtual BlitId download_staged(std::span<const ViewPair> pairs, const TimelinePoint& after = {},
                                 BlitPriority priority = BlitPriority::kKv) = 0;
  BlitId upload_staged(const BufferView& dst, const BufferView& src,
                       const TimelinePoint& after = {}, BlitPriority priority = BlitPriority::kKv) {
    const ViewPair pair{dst, src};
    return upload_staged({&pair, 1}, after, priority);
  }
  BlitId download_staged(const BufferView& dst, const BufferView& src,
                         const TimelinePoint& after = {},
                         BlitPriority priority = BlitPriority::kKv) {
    const ViewPair pair{dst, src};
    return download_staged({&pair, 1}, after, priority);
  }
  // What a command buffer waits for to see the upload.
  virtual TimelinePoint completion(BlitId id) = 0;
  // Calls back once, when the transfer has ended and a download's dst is valid. On a thread of the
  // queue's own (one for each direction, in order of the calls), never under a lock; without the
  // queue at once, on this thread.
  virtual void on_complete(BlitId id, BlitCallback callback) = 0;
  // kTimeout leaves the transfer pending. Throws DeviceError if it failed.
  virtual WaitResult wait(BlitId id, std::chrono::nanoseconds timeout = kNoTimeout) = 0;
  // One time-out for all that is pending in both directions. A transfer that has failed before is
  // not pending: its own wait() tells.
  virtual WaitResult wait_all(std::chrono::nanoseconds timeout = kNoTimeout) = 0;
  // For a download nobody waits for any more: once this returns, its dst is not written.
  virtual void cancel(BlitId id) = 0;
  // A step's time on the compute queue, for the overlap ratio and the pacing.
  virtual void add_compute(Timestamps compute) = 0;
  // Bytes that the device reads where the host has them: an upload that was not needed.
  virtual void add_mapped(uint64_t bytes) = 0;

  // Copies are recorded from now on. Before the first one.
  virtual void set_trace(std::shared_ptr<TraceRecorder> trace) = 0;

  virtual BlitStatistics statistics() const = 0;
  virtual void reset_statistics() = 0;

 protected:
  static void check_size(const BufferView& view, uint64_t bytes);
};

}  // namespace krserve::runtime
