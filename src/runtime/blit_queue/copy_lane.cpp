#include "runtime/blit_queue/copy_lane.h"

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/units.h"

namespace krserve::runtime {
namespace {

constexpr std::chrono::microseconds kPollInterval{20};
// Uploads up to this size may share a device copy,
constexpr uint64_t kSmallBytes = 16 * kKiB;
// which holds at most so much.
constexpr uint64_t kBatchBytes = 64 * kKiB;
// A background piece is short, so that an urgent transfer behind it is not late,
constexpr uint64_t kBackgroundPieceBytes = 4 * kMiB;
// and there are no more than it takes to fill one while others are copied.
constexpr uint32_t kBackgroundPieces = 3;

bool overlap(const BufferView& a, const BufferView& b) {
  return a.buffer == b.buffer && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
}

}  // namespace

CopyLane::CopyLane(std::shared_ptr<Device> device, BlitDirection direction,
                   const BlitQueueConfig& config, StagingBudget budget, BlitMeter& meter)
    : device_(std::move(device)),
      direction_(direction),
      config_(config),
      budget_(std::move(budget)),
      meter_(meter) {
  queue_ = device_->new_queue(direction == BlitDirection::kUp ? QueueKind::kCopyToDevice
                                                              : QueueKind::kCopyToHost);
  timeline_ = device_->new_timeline();
}

CopyLane::~CopyLane() {
  {
    const std::lock_guard lock(mutex_);
    flush();
  }
  queue_->wait_idle(std::chrono::seconds(10));
  queue_.reset();  // before the staging memory that it copies from and to
}

const char* CopyLane::name() const {
  return direction_ == BlitDirection::kUp ? "upload" : "download";
}

void CopyLane::prepare() {
  Lock lock(mutex_);
  prepare_locked(lock);
}

// Staging memory on first use; a fresh start after a device error.
void CopyLane::prepare_locked(Lock& lock) {
  if (!staging_) {
    const uint64_t bytes = static_cast<uint64_t>(config_.staging_buffer_size_mb) * kMiB / 2;
    if (budget_) budget_(bytes);
    staging_ = device_->new_buffer(bytes, Storage::kStaging);
    ring_ = std::make_unique<StagingRing>(bytes,
                                          std::max<uint64_t>(64, device_->info().alignment_bytes));
  }
  if (timeline_->error()) start_afresh(lock);
}

// With a new queue: what is left in the old one must not run late, from staging memory that is
// in use again.
void CopyLane::start_afresh(Lock& lock) {
  const std::shared_ptr<Timeline> broken = timeline_;
  std::shared_ptr<Queue> queue = device_->new_queue(queue_->kind());
  std::shared_ptr<Timeline> timeline = device_->new_timeline();
  retire(lock);
  wait_until_landed(lock);
  if (timeline_ != broken) return;  // somebody else did
  queue_ = std::move(queue);
  for (const Operation& operation : pending_) {
    give_back(operation.staged);
    meter_.add_failed();
  }
  log().warn("[blit_queue.recover] {} queue replaced, {} pending lost: {}", name(), pending_.size(),
             broken->error().value_or("device error"));
  pending_.clear();
  failed_[last_value_] = std::exchange(timeline_, std::move(timeline));
  changed_.notify_all();
}

// A transfer larger than that goes in pieces: the next is staged while the former is copied.
uint64_t CopyLane::piece_bytes(BlitPriority priority) const {
  const uint64_t quarter = std::max<uint64_t>(ring_->capacity_bytes() / 4, 64);
  return priority == BlitPriority::kStep ? quarter : std::min(quarter, kBackgroundPieceBytes);
}

uint64_t CopyLane::submit(const LaneTransfer& transfer) {
  // Without shared events the host does the waiting that the device would do.
  if (!config_.use_shared_events) wait_point(transfer.after, kNoTimeout, true);
  Lock lock(mutex_);
  prepare_locked(lock);
  Progress progress;
  if (join_or_open(transfer, progress.value)) return progress.value;
  progress.transfer = ++last_transfer_;
  const uint64_t bytes = transfer.device_view.bytes;
  const uint64_t most = piece_bytes(transfer.priority);
  try {
    for (uint64_t at = 0; at < bytes; at += most) {
      LaneTransfer piece = transfer;
      const uint64_t size = std::min(most, bytes - at);
      piece.device_view = transfer.device_view.sub(at, size);
      if (piece.host_src) piece.host_src += at;
      if (piece.host_dst) piece.host_dst += at;
      if (piece.host_view) piece.host_view = transfer.host_view.sub(at, size);
      submit_piece(lock, piece, at, progress);
    }
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    forget(lock, progress.transfer);  // the caller's memory may go now
    throw;
  }
  return progress.value;
}

void CopyLane::submit_piece(Lock& lock, const LaneTransfer& piece, uint64_t at,
                            Progress& progress) {
  const Staged staged = reserve(lock, piece, progress);
  try {
    if (piece.host_src || piece.fill) stage(lock, piece, at, staged);
    commit(lock, piece, staged, progress);
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    give_back(staged);
    throw;
  }
}

// Others work meanwhile: the lock is not held.
void CopyLane::stage(Lock& lock, const LaneTransfer& piece, uint64_t at, const Staged& staged) {
  lock.unlock();
  if (piece.fill) {
    (*piece.fill)(staged.view.contents(), at, staged.view.bytes);
  } else {
    std::memcpy(staged.view.contents(), piece.host_src, staged.view.bytes);
  }
  lock.lock();
}

void CopyLane::commit(Lock& lock, const LaneTransfer& piece, const Staged& staged,
                      Progress& progress) {
  check_not_lost(progress);
  if (timeline_->error()) start_afresh(lock);
  flush();
  commit_copy(piece.device_view, staged, piece, progress.transfer);
  progress.value = last_value_;
  progress.timeline = timeline_;
  changed_.notify_all();
}

// A transfer must not go on when pieces of it went to a queue that has failed since.
void CopyLane::check_not_lost(const Progress& progress) const {
  if (progress.value == 0) return;
  if (progress.timeline == timeline_ && !timeline_->error()) return;
  throw DeviceError("blit_queue.submit", progress.timeline->error().value_or("device error"));
}

void CopyLane::commit_copy(const BufferView& device_view, const Staged& staged,
                           const LaneTransfer& piece, uint64_t transfer) {
  const TimelinePoint done{timeline_, last_value_ + 1};
  auto commands = queue_->begin(CommandBufferUse::kOnce, name());
  if (direction_ == BlitDirection::kUp) {
    commands->copy(device_view, staged.view);
  } else {
    commands->copy(staged.view, device_view);
  }
  const bool device_waits = config_.use_shared_events && piece.after.timeline;
  queue_->commit(commands, {&piece.after, device_waits ? 1U : 0U}, {&done, 1});
  last_value_ = done.value;
  pending_.push_back(
      {done.value, transfer, std::move(commands), device_view, staged, piece.host_dst, false});
  if (config_.verbose_logging) {
    log().info("[blit_queue.submit] {} #{}: {}, {}, {} pending", name(), done.value,
               format_bytes(device_view.bytes), to_string(piece.priority), pending_.size());
  }
}

// Small uploads wait for company while the device is busy with others anyway.
bool CopyLane::join_or_open(const LaneTransfer& transfer, uint64_t& value) {
  const uint64_t bytes = transfer.device_view.bytes;
  if (!transfer.host_src || bytes > kSmallBytes || !transfer.after.reached()) return false;
  if (open_ && joins(*open_, transfer)) {
    std::memcpy(open_->staged.view.contents() + open_->device_view.bytes, transfer.host_src, bytes);
    open_->device_view.bytes += bytes;
    meter_.add_coalesced();
    if (config_.verbose_logging) {
      log().info("[blit_queue.coalesce] {} joins #{}, {}", format_bytes(bytes), open_->value,
                 to_string(transfer.priority));
    }
    value = open_->value;
    return true;
  }
  flush();
  if (pending_.empty() || timeline_->reached(last_value_)) return false;
  LaneTransfer batch = transfer;
  batch.device_view.bytes = std::min(kBatchBytes, ring_->capacity_bytes() / 8);
  Staged staged;
  BlitStall cause{};
  if (batch.device_view.bytes < bytes || !try_reserve(batch, staged, cause)) return false;
  std::memcpy(staged.view.contents(), transfer.host_src, bytes);
  value = last_value_ + 1;
  open_ = OpenBatch{value, ++last_transfer_, transfer.device_view, staged, transfer.priority};
  return true;
}

bool CopyLane::joins(const OpenBatch& batch, const LaneTransfer& transfer) const {
  const BufferView& before = batch.device_view;
  const BufferView& view = transfer.device_view;
  return batch.priority == transfer.priority && before.buffer == view.buffer &&
         before.offset + before.bytes == view.offset &&
         before.bytes + view.bytes <= batch.staged.view.bytes;
}

void CopyLane::flush() {
  if (!open_) return;
  const OpenBatch batch = *std::exchange(open_, std::nullopt);
  Staged staged = batch.staged;
  staged.view.bytes = batch.device_view.bytes;
  LaneTransfer piece;
  piece.priority = batch.priority;
  try {
    commit_copy(batch.device_view, staged, piece, batch.transfer);
  } catch (const Error& error) {
    give_back(staged);
    meter_.add_failed();
    last_value_ = batch.value;  // its number is not used again
    refused_[batch.value] = device_->new_timeline();
    refused_[batch.value]->poison(error.what());
  }
}

CopyLane::Staged CopyLane::reserve(Lock& lock, const LaneTransfer& piece, Progress& progress) {
  Staged staged;
  BlitStall cause{};
  flush();
  retire(lock);
  if (try_reserve(piece, staged, cause)) return staged;
  meter_.add_stall(cause);
  if (config_.verbose_logging) {
    log().info("[blit_queue.stall] {} of {} waits: {}", name(),
               format_bytes(piece.device_view.bytes), to_string(cause));
  }
  uint32_t& waiting = waiting_[static_cast<size_t>(piece.priority)];
  ++waiting;
  try {
    do {
      wait_for_room(lock, piece.priority, progress);
      flush();
      retire(lock);
    } while (!try_reserve(piece, staged, cause));
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    --waiting;
    changed_.notify_all();
    throw;
  }
  --waiting;
  changed_.notify_all();
  return staged;
}

bool CopyLane::is_someone_more_urgent(BlitPriority priority) const {
  return std::any_of(waiting_.begin(), waiting_.begin() + static_cast<size_t>(priority),
                     [](uint32_t count) { return count > 0; });
}

bool CopyLane::try_reserve(const LaneTransfer& piece, Staged& out, BlitStall& cause) {
  const auto most = static_cast<uint32_t>(std::max<int64_t>(1, config_.max_pending_ops));
  const uint32_t limit = piece.priority == BlitPriority::kStep
                             ? most
                             : std::clamp<uint32_t>(most - 1, 1, kBackgroundPieces);
  std::optional<uint64_t> taken;
  if (is_someone_more_urgent(piece.priority)) {
    cause = BlitStall::kPriority;
  } else if (in_use_ >= limit) {
    cause = BlitStall::kPendingLimit;
  } else if (piece.host_view) {
    taken = kCallersOwn;
  } else {
    cause = BlitStall::kStagingFull;
    taken = ring_->take(piece.device_view.bytes);
  }
  if (!taken) return false;
  out = piece.host_view ? Staged{kCallersOwn, piece.host_view}
                        : Staged{*taken, {staging_.get(), *taken, piece.device_view.bytes}};
  ++in_use_;
  meter_.enter_queue();
  return true;
}

void CopyLane::wait_for_room(Lock& lock, BlitPriority priority, Progress& progress) {
  if (is_someone_more_urgent(priority) || pending_.empty() || pending_.front().landing) {
    changed_.wait(lock);
    return;
  }
  const TimelinePoint oldest{timeline_, pending_.front().value};
  lock.unlock();
  try {
    wait_point(oldest, kNoTimeout, true);
  } catch (const DeviceError&) {
    lock.lock();
    if (progress.value != 0) throw;
    if (timeline_ == oldest.timeline) start_afresh(lock);  // not our error: go on
    return;
  }
  lock.lock();
  check_not_lost(progress);
}

void CopyLane::give_back(const Staged& staged) {
  if (!staged.is_callers()) ring_->give_back(staged.offset);
  --in_use_;
  meter_.leave_queue();
  changed_.notify_all();
}

// Everything that has ended: downloads reach their destination, metrics take the timestamps.
void CopyLane::retire(Lock& lock) {
  while (!pending_.empty() && !pending_.front().landing &&
         timeline_->reached(pending_.front().value)) {
    Operation& operation = pending_.front();
    if (operation.host_dst) land(lock, operation);
    if (meter_.times_copies()) {
      meter_.add_copy(direction_, operation.device_view.bytes, operation.commands->timestamps());
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
    return overlap(operation.device_view, device_view);
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
