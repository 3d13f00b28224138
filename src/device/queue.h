// Queues and command buffers: how work reaches the device.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "device/buffer.h"
#include "device/timeline.h"
#include "kernels/ops/ops.h"

namespace krserve {

enum class QueueKind { kCompute, kCopyToDevice, kCopyToHost };

enum class CommandBufferUse {
  kOnce,      // commit once
  kRecorded,  // may be committed again when its last execution is over
};

enum class CommandBufferState { kEncoding, kCommitted, kCompleted, kFailed };

// Start and end of the last execution on the device's clock (Device::clock_ns).
struct Timestamps {
  uint64_t start_ns = 0;
  uint64_t end_ns = 0;
};

// A list of commands. Commands between two barriers may run in any order or at the same time.
// Encoding is not thread-safe. Buffers bound must outlive the last execution.
class CommandBuffer {
 public:
  CommandBuffer() = default;
  CommandBuffer(const CommandBuffer&) = delete;
  CommandBuffer& operator=(const CommandBuffer&) = delete;
  virtual ~CommandBuffer() = default;

  // `args` is the op's Args struct, copied. `buffers` are in the op's order. The launch geometry is
  // the back end's business: it follows from the op and its Args.
  virtual void dispatch(ops::Op op, const void* args, uint32_t args_bytes,
                        std::span<const BufferView> buffers) = 0;
  // Copies min(dst.bytes, src.bytes) bytes. The ranges do not overlap.
  virtual void copy(const BufferView& dst, const BufferView& src) = 0;
  virtual void fill(const BufferView& dst, uint8_t value) = 0;
  virtual void barrier() = 0;

  virtual CommandBufferState state() const = 0;
  // Valid in kCompleted.
  virtual Timestamps timestamps() const = 0;

  template <class Args>
  void dispatch(ops::Op op, const Args& args, std::span<const BufferView> buffers) {
    static_assert(sizeof(Args) <= ops::kMaxArgsBytes);
    dispatch(op, &args, sizeof(Args), buffers);
  }
};

// Command buffers of one queue run in commit order, one after the other. Thread-safe.
class Queue {
 public:
  Queue() = default;
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  virtual ~Queue() = default;

  virtual QueueKind kind() const = 0;
  virtual std::shared_ptr<CommandBuffer> begin(CommandBufferUse use, std::string_view label) = 0;
  // Starts after all `waits` are reached; reaches all `signals` at its end. If it fails, or a wait
  // is poisoned, the signals' timelines are poisoned. Throws DeviceError if the commit is refused.
  virtual void commit(const std::shared_ptr<CommandBuffer>& commands,
                      std::span<const TimelinePoint> waits,
                      std::span<const TimelinePoint> signals) = 0;
  // True when everything committed has ended (well or not) within the time.
  virtual bool wait_idle(std::chrono::nanoseconds timeout) = 0;
};

}  // namespace krserve
