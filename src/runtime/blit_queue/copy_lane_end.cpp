// The second half of CopyLane: how operations end, and who waits for them.
#include <algorithm>
#include <cstring>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "runtime/blit_queue/copy_lane.h"

namespace krserve::runtime {
namespace {

constexpr std::chrono::microseconds kPollInterval{20};

bool overlap(const BufferView& a, const BufferView& b) {
  return a.buffer == b.buffer && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
}

}  // namespace

// Everything that has ended: downloads reach their destination, metrics take the timestamps.
void CopyLane::retire(Lock& lock) {
  while (!pending_.empty() && !pending_.front().landing &&
         timeline_->reached(pending_.front().value)) {
    Operation& operation = pending_.front();
    if (operation.host_dst) land(lock, operation);
    if (meter_.times_copies()) {
      meter_.add_copy(direction_, bytes_of(operation.copies), operation.commands->timestamps());
    }
    give_back(operation.staged);
    pending_.pop_front();
  }
}

// Nobody else takes the operation away while it lands.
void CopyLane::land(Lock& lock, Operation& operation) {
  operation.landing = true;
  std::byte* const dst = operation.host_dst;
  const BufferView staged = operation.staged.view;
  lock.unlock();
  std::memcpy(dst, staged.contents(), staged.bytes);
  lock.lock();
  operation.landing = false;
  changed_.notify_all();
}

void CopyLane::wait_until_landed(Lock& lock) {
  changed_.wait(lock, [this] { return pending_.empty() || !pending_.front().landing; });
}

void CopyLane::forget(Lock& lock, uint64_t transfer) {
  TimelinePoint callers_own;
  for (Operation& operation : pending_) {
    if (operation.transfer != transfer) continue;
    operation.host_dst = nullptr;
    if (operation.staged.is_callers()) callers_own = {timeline_, operation.value};
  }
  wait_until_landed(lock);
  if (!callers_own.timeline) return;
  lock.unlock();
  try {
    callers_own.wait(kNoTimeout);
  } catch (const DeviceError& error) {  // then nothing of it runs any more
    log().debug("[blit_queue.cancel] {}", error.what());
  }
  lock.lock();
}

void CopyLane::cancel(uint64_t value) {
  Lock lock(mutex_);
  const auto last = std::find_if(pending_.begin(), pending_.end(), [&](const Operation& operation) {
    return operation.value == value;
  });
  if (last == pending_.end()) return;
  meter_.add_cancelled();
  forget(lock, last->transfer);
}

bool CopyLane::is_pending(const BufferView& device_view) {
  Lock lock(mutex_);
  if (open_ && overlap(open_->device_view, device_view)) return true;
  retire(lock);
  return std::any_of(pending_.begin(), pending_.end(), [&](const Operation& operation) {
    return std::any_of(operation.copies.begin(), operation.copies.end(), [&](const ViewPair& copy) {
      return overlap(device_end(copy), device_view);
    });
  });
}

uint32_t CopyLane::depth() const {
  const std::lock_guard lock(mutex_);
  const auto ended = std::count_if(pending_.begin(), pending_.end(),
                                   [&](const Operation& o) { return timeline_->reached(o.value); });
  return in_use_ - static_cast<uint32_t>(ended);
}

uint64_t CopyLane::staging_bytes() const {
  const std::lock_guard lock(mutex_);
  return staging_ ? staging_->size_bytes() : 0;
}

TimelinePoint CopyLane::point(uint64_t value) const {
  const auto refused = refused_.find(value);
  if (refused != refused_.end()) return {refused->second, value};
  const auto failed = failed_.lower_bound(value);
  return {failed == failed_.end() ? timeline_ : failed->second, value};
}

TimelinePoint CopyLane::completion(uint64_t value) {
  const std::lock_guard lock(mutex_);
  if (open_ && open_->value <= value) flush();
  return point(value);
}

uint64_t CopyLane::last_value() {
  const std::lock_guard lock(mutex_);
  flush();
  return pending_.empty() ? 0 : pending_.back().value;
}

WaitResult CopyLane::wait(uint64_t value, std::chrono::nanoseconds timeout, bool counted) {
  const TimelinePoint end = completion(value);
  try {
    if (wait_point(end, timeout, counted) == WaitResult::kTimeout) return WaitResult::kTimeout;
  } catch (const DeviceError&) {
    recover(end.timeline);
    throw;
  }
  Lock lock(mutex_);
  retire(lock);
  while (timeline_ == end.timeline && !pending_.empty() && pending_.front().value <= value) {
    wait_until_landed(lock);
    retire(lock);
  }
  return WaitResult::kReached;
}

// What was lost must not stay pending until the next transfer comes.
void CopyLane::recover(const std::shared_ptr<Timeline>& broken) {
  Lock lock(mutex_);
  if (timeline_ != broken) return;
  try {
    start_afresh(lock);
  } catch (const Error& error) {  // the next transfer tries again
    log().warn("[blit_queue.recover] {}", error.what());
  }
}

uint64_t CopyLane::clock_ns() const {
  return config_.use_shared_events ? device_->clock_ns() : now_ns();
}

WaitResult CopyLane::wait_point(const TimelinePoint& point, std::chrono::nanoseconds timeout,
                                bool counted) {
  if (point.reached()) return point.wait(std::chrono::nanoseconds(0));
  const TraceInterval interval = meter_.begin_wait();
  const uint64_t start = now_ns();
  const uint64_t limit_ns = static_cast<uint64_t>(std::max<int64_t>(0, timeout.count()));
  WaitResult result = WaitResult::kReached;
  if (config_.use_shared_events) {
    result = point.wait(timeout);
  } else {
    while (!point.reached()) {
      if (timeout != kNoTimeout && now_ns() - start >= limit_ns) {
        result = WaitResult::kTimeout;
        break;
      }
      if (point.timeline->error()) return point.wait(std::chrono::nanoseconds(0));  // throws
      std::this_thread::sleep_for(kPollInterval);
    }
  }
  if (counted) meter_.add_wait(now_ns() - start);
  return result;
}

}  // namespace krserve::runtime
