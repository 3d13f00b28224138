#include "runtime/blit_queue/copy_lane.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/units.h"

namespace krserve::runtime {
namespace {

// Uploads up to this size may share a device copy,
constexpr uint64_t kSmallBytes = 16 * kKiB;
// which holds at most so much.
constexpr uint64_t kBatchBytes = 64 * kKiB;
// A background piece is short, so that an urgent transfer behind it is not late,
constexpr uint64_t kBackgroundPieceBytes = 4 * kMiB;
// and there are no more than it takes to fill one while others are copied.
constexpr uint32_t kBackgroundPieces = 3;
// Of the caller's own staging memory a piece may be longer: 190 us at 45 GB/s, so that starting
// and ending it is little of its time. Nothing is filled: one waits while the other is copied.
constexpr uint64_t kListPieceBytes = 8 * kMiB;
constexpr uint32_t kLongPieces = 2;

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

const BufferView& CopyLane::device_end(const ViewPair& copy) const {
  return direction_ == BlitDirection::kUp ? copy.dst : copy.src;
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
  try {
    if (transfer.pairs.empty()) {
      submit_pieces(lock, transfer, progress);
    } else {
      submit_list(lock, transfer, progress);
    }
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    forget(lock, progress.transfer);  // the caller's memory may go now
    throw;
  }
  return progress.value;
}

void CopyLane::submit_pieces(Lock& lock, const LaneTransfer& transfer, Progress& progress) {
  const uint64_t bytes = transfer.device_view.bytes;
  const uint64_t most = piece_bytes(transfer.priority);
  for (uint64_t at = 0; at < bytes; at += most) {
    LaneTransfer piece = transfer;
    piece.device_view = transfer.device_view.sub(at, std::min(most, bytes - at));
    if (piece.host_src) piece.host_src += at;
    if (piece.host_dst) piece.host_dst += at;
    submit_piece(lock, piece, at, progress);
  }
}

// Several copies in a command buffer, with nothing between them.
void CopyLane::submit_list(Lock& lock, const LaneTransfer& list, Progress& progress) {
  LaneTransfer piece = list;
  CopyCutter cutter(list.pairs);
  while (!cutter.is_done()) {
    const std::vector<ViewPair> copies = cutter.next(kListPieceBytes);
    piece.pairs = copies;
    submit_piece(lock, piece, 0, progress);
  }
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
  commit_copies(piece, staged, progress.transfer);
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

void CopyLane::commit_copies(const LaneTransfer& piece, const Staged& staged, uint64_t transfer) {
  const TimelinePoint done{timeline_, last_value_ + 1};
  std::vector<ViewPair> copies(piece.pairs.begin(), piece.pairs.end());
  if (copies.empty()) {
    const bool up = direction_ == BlitDirection::kUp;
    copies.push_back(up ? ViewPair{piece.device_view, staged.view}
                        : ViewPair{staged.view, piece.device_view});
  }
  auto commands = queue_->begin(CommandBufferUse::kOnce, name());
  for (const ViewPair& copy : copies) commands->copy(copy.dst, copy.src);
  const bool device_waits = config_.use_shared_events && piece.after.timeline;
  TraceInterval interval = meter_.begin_copy(direction_);
  queue_->commit(commands, {&piece.after, device_waits ? 1U : 0U}, {&done, 1});
  last_value_ = done.value;
  pending_.push_back({done.value, transfer, std::move(commands), std::move(copies), staged,
                      piece.host_dst, false, std::move(interval)});
  if (config_.verbose_logging) {
    log().info("[blit_queue.submit] {} #{}: {}, {}, {} pending", name(), done.value,
               format_bytes(piece.bytes()), to_string(piece.priority), pending_.size());
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
  piece.device_view = batch.device_view;
  piece.priority = batch.priority;
  try {
    commit_copies(piece, staged, batch.transfer);
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
    log().info("[blit_queue.stall] {} of {} waits: {}", name(), format_bytes(piece.bytes()),
               to_string(cause));
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
  const bool is_long = cost_of(piece.pairs) > kBackgroundPieceBytes;
  const uint32_t background = is_long ? kLongPieces : kBackgroundPieces;
  const uint32_t limit =
      piece.priority == BlitPriority::kStep ? most : std::clamp<uint32_t>(most - 1, 1, background);
  std::optional<uint64_t> taken;
  if (is_someone_more_urgent(piece.priority)) {
    cause = BlitStall::kPriority;
  } else if (in_use_ >= limit) {
    cause = BlitStall::kPendingLimit;
  } else if (!piece.pairs.empty()) {
    taken = kCallersOwn;
  } else {
    cause = BlitStall::kStagingFull;
    taken = ring_->take(piece.device_view.bytes);
  }
  if (!taken) return false;
  out = {*taken, {}};
  if (!out.is_callers()) out.view = {staging_.get(), *taken, piece.device_view.bytes};
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

}  // namespace krserve::runtime
