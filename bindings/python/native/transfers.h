// BlitQueue: the runtime's blit queue as a Python object, and the transfers it hands out.
#pragma once

#include <nanobind/nanobind.h>

#include <exception>
#include <memory>
#include <vector>

#include "native/buffer.h"
#include "native/settings.h"
#include "runtime/blit_queue/blit_queue.h"

namespace krserve::python {

// A copy on its way, and what it needs alive until it has ended.
struct Transfer {
  runtime::BlitId id = 0;
  std::shared_ptr<runtime::BlitQueue> queue;
  MemoryPtr memory;
  WritableHostArray out;  // of a download
  bool done = false;
  std::exception_ptr error;

  Transfer() = default;
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;
  // Cancels a download: `out` may go with it.
  ~Transfer();

  // False at the time-out; throws what the transfer failed of. Without Python's lock meanwhile.
  static bool settle(const std::shared_ptr<Transfer>& self, std::chrono::nanoseconds timeout);
};
using TransferPtr = std::shared_ptr<Transfer>;

class TransferQueue {
 public:
  TransferQueue(std::shared_ptr<Device> device, const BlitSettings& settings);
  // Waits for what is pending, unless a transfer that somebody holds keeps the queue.
  ~TransferQueue();
  TransferQueue(const TransferQueue&) = delete;
  TransferQueue& operator=(const TransferQueue&) = delete;

  TransferPtr upload(const ArrayBuffer& buffer, const HostArray& data, const TimelinePoint& after,
                     runtime::BlitPriority priority);
  TransferPtr download(const ArrayBuffer& buffer, const WritableHostArray& out,
                       const TimelinePoint& after, runtime::BlitPriority priority);
  bool wait_all(std::chrono::nanoseconds timeout);
  void cancel(const TransferPtr& transfer);

  const std::shared_ptr<Device>& device() const { return device_; }
  const BlitSettings& settings() const { return settings_; }
  runtime::BlitQueue& runtime() const { return *queue_; }

 private:
  void check_device(const ArrayBuffer& buffer) const;
  TransferPtr keep(TransferPtr transfer);
  void forget_done();

  std::shared_ptr<Device> device_;
  BlitSettings settings_;
  std::shared_ptr<runtime::BlitQueue> queue_;
  std::vector<TransferPtr> pending_;
};

// What device work may wait for: None, a Transfer, a Step. Throws TypeError for other things.
TimelinePoint point_from(nanobind::handle given);

void bind_transfers(nanobind::module_& module);

}  // namespace krserve::python
