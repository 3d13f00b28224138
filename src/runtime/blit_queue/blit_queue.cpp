#include "runtime/blit_queue/blit_queue.h"

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/units.h"

namespace krserve::runtime {
namespace {

// The low bits of an id say what it counts.
enum IdKind : uint64_t { kUp = 1, kDown = 2, kSharedRead = 3 };

BlitId make_id(uint64_t value, IdKind kind) {
  return value << 2 | kind;
}
IdKind kind_of(BlitId id) {
  return static_cast<IdKind>(id & 3);
}
uint64_t value_of(BlitId id) {
  return id >> 2;
}

constexpr std::chrono::microseconds kPollInterval{20};

bool overlap(const BufferView& a, const BufferView& b) {
  return a.buffer == b.buffer && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
}

double to_ms(uint64_t ns) {
  return static_cast<double>(ns) / 1e6;
}

}  // namespace

void Transfers::check_size(const BufferView& view, uint64_t bytes) {
  if (bytes <= view.bytes) return;
  throw_error<DeviceError>("transfer.submit", "{} bytes do not fit the view of {} bytes", bytes,
                           view.bytes);
}

BlitQueue::BlitQueue(std::shared_ptr<Device> device, const BlitQueueConfig& config)
    : device_(std::move(device)), config_(config) {
  up_.kind = QueueKind::kCopyToDevice;
  down_.kind = QueueKind::kCopyToHost;
  try {
    up_.queue = device_->new_queue(up_.kind);
    down_.queue = device_->new_queue(down_.kind);
  } catch (const DeviceError& error) {
    throw_error<DeviceError>("blit_queue.create",
                             "BlitQueue: Failed to create MTLCommandQueue (device unavailable): {}",
                             error.what());
  }
  up_.timeline = device_->new_timeline();
  down_.timeline = device_->new_timeline();
}

BlitQueue::~BlitQueue() {
  up_.queue->wait_idle(std::chrono::seconds(10));
  down_.queue->wait_idle(std::chrono::seconds(10));
  // Before the staging memory they copy from and to.
  up_.queue.reset();
  down_.queue.reset();
}

BlitId BlitQueue::upload(const BufferView& dst, const void* src, uint64_t bytes,
                         const TimelinePoint& after) {
  if (bytes == 0) return 0;
  check_size(dst, bytes);
  if (upload_no_copy(dst, src, bytes, after)) return 0;
  const auto* host = static_cast<const std::byte*>(src);
  return make_id(submit(up_, {0, dst.sub(0, bytes), host, nullptr}, after), kUp);
}

// Shared memory: the upload is a store, as soon as nobody reads the old contents any more and
// earlier uploads to the same place are over.
bool BlitQueue::upload_no_copy(const BufferView& dst, const void* src, uint64_t bytes,
                               const TimelinePoint& after) {
  if (!device_->info().unified_memory || !dst.contents() || !after.reached() ||
      is_upload_pending(dst.sub(0, bytes))) {
    return false;
  }
  Timestamps times;
  times.start_ns = device_->clock_ns();
  std::memcpy(dst.contents(), src, bytes);
  times.end_ns = device_->clock_ns();
  const std::lock_guard lock(mutex_);
  note_copy(times, upload_ns_);
  ++counts_.total_uploads;
  ++counts_.no_copy_count;
  counts_.upload_bytes += bytes;
  return true;
}

bool BlitQueue::is_upload_pending(const BufferView& dst) {
  const std::lock_guard lock(mutex_);
  retire(up_);
  return std::any_of(up_.pending.begin(), up_.pending.end(), [&](const Operation& operation) {
    return overlap(operation.device_view, dst);
  });
}

BlitId BlitQueue::download(void* dst, const BufferView& src, uint64_t bytes,
                           const TimelinePoint& after) {
  if (bytes == 0) return 0;
  check_size(src, bytes);
  auto* host = static_cast<std::byte*>(dst);
  if (device_->info().unified_memory && src.contents()) {
    const std::lock_guard lock(mutex_);
    shared_reads_[++last_shared_read_] = {host, src.contents(), bytes, after};
    return make_id(last_shared_read_, kSharedRead);
  }
  return make_id(submit(down_, {0, src.sub(0, bytes), nullptr, host}, after), kDown);
}

uint64_t BlitQueue::submit(Lane& lane, Transfer transfer, const TimelinePoint& after) {
  // Without shared events the host does the waiting that the device would do. Nobody else waits
  // with it: no lock yet.
  if (!config_.use_shared_events) wait_point(after, kNoTimeout);
  Lock lock(mutex_);
  prepare(lane);
  transfer.number = ++last_transfer_;
  const uint64_t bytes = transfer.device_view.bytes;
  // A transfer larger than the ring goes through it in pieces that keep it busy.
  const uint64_t piece = std::max<uint64_t>(lane.ring->capacity_bytes() / 4, 64);
  uint64_t value = 0;
  try {
    for (uint64_t at = 0; at < bytes; at += piece) {
      const uint64_t size = std::min(piece, bytes - at);
      value = submit_piece(lock, lane, transfer.piece(at, size), after);
    }
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    forget(lane, transfer.number);  // the caller's memory may go now
    throw;
  }
  ++(transfer.host_src ? counts_.total_uploads : counts_.total_downloads);
  (transfer.host_src ? counts_.upload_bytes : counts_.download_bytes) += bytes;
  return value;
}

void BlitQueue::forget(Lane& lane, uint64_t transfer) {
  for (Operation& operation : lane.pending) {
    if (operation.transfer == transfer) operation.host_dst = nullptr;
  }
}

// Staging memory on first use; a fresh start after a device error.
void BlitQueue::prepare(Lane& lane) {
  if (!lane.staging) {
    const uint64_t bytes = static_cast<uint64_t>(config_.staging_buffer_size_mb) * kMiB / 2;
    lane.staging = device_->new_buffer(bytes, Storage::kStaging);
    lane.ring = std::make_unique<StagingRing>(
        bytes, std::max<uint64_t>(64, device_->info().alignment_bytes));
  }
  if (lane.timeline->error()) replace_failed(lane);
}

// With a new queue: what is left in the old one must not run late, from staging memory that is
// in use again.
void BlitQueue::replace_failed(Lane& lane) {
  std::shared_ptr<Queue> queue = device_->new_queue(lane.kind);
  std::shared_ptr<Timeline> timeline = device_->new_timeline();
  retire(lane);
  lane.queue = std::move(queue);
  lane.pending.clear();
  while (!lane.ring->empty()) lane.ring->give_back();
  lane.failed[lane.last_value] = std::exchange(lane.timeline, std::move(timeline));
}

std::shared_ptr<CommandBuffer> BlitQueue::encode(Lane& lane, const Transfer& piece,
                                                 const BufferView& staged) {
  auto commands =
      lane.queue->begin(CommandBufferUse::kOnce, piece.host_src ? "upload" : "download");
  if (piece.host_src) {
    std::memcpy(staged.contents(), piece.host_src, staged.bytes);
    commands->copy(piece.device_view, staged);
  } else {
    commands->copy(staged, piece.device_view);
  }
  return commands;
}

uint64_t BlitQueue::submit_piece(Lock& lock, Lane& lane, const Transfer& piece,
                                 const TimelinePoint& after) {
  const BufferView staged = take_staging(lock, lane, piece.device_view.bytes);
  const TimelinePoint done{lane.timeline, lane.last_value + 1};
  std::shared_ptr<CommandBuffer> commands;
  try {
    commands = encode(lane, piece, staged);
    const bool device_waits = config_.use_shared_events && after.timeline;
    lane.queue->commit(commands, {&after, device_waits ? 1U : 0U}, {&done, 1});
  } catch (...) {
    lane.ring->take_back();
    throw;
  }
  lane.last_value = done.value;
  lane.pending.push_back({done.value, piece.number, std::move(commands), piece.device_view,
                          staged.contents(), piece.host_dst});
  const auto depth = static_cast<uint32_t>(up_.pending.size() + down_.pending.size());
  counts_.peak_queue_depth = std::max(counts_.peak_queue_depth, depth);
  if (config_.verbose_logging) {
    log().debug("[blit_queue.submit] {} #{}: {}, {} pending",
                piece.host_src ? "upload" : "download", done.value,
                format_bytes(piece.device_view.bytes), depth);
  }
  return done.value;
}

BufferView BlitQueue::take_staging(Lock& lock, Lane& lane, uint64_t bytes) {
  retire(lane);
  bool stalled = false;
  for (;;) {
    const bool room_in_queue =
        lane.pending.size() < static_cast<size_t>(std::max<int64_t>(1, config_.max_pending_ops));
    const auto taken = room_in_queue ? lane.ring->take(bytes) : std::nullopt;
    if (taken) {
      counts_.stall_count += stalled ? 1 : 0;
      return {lane.staging.get(), *taken, bytes};
    }
    stalled = true;
    wait_for_oldest(lock, lane);
  }
}

void BlitQueue::wait_for_oldest(Lock& lock, Lane& lane) {
  const TimelinePoint oldest{lane.timeline, lane.pending.front().value};
  lock.unlock();
  wait_point(oldest, kNoTimeout);
  lock.lock();
  if (lane.timeline != oldest.timeline) {  // somebody else met the error: pieces of ours are lost
    throw DeviceError("blit_queue.submit", oldest.timeline->error().value_or("device error"));
  }
  retire(lane);
}

// Everything that has ended: downloads reach their destination, metrics take the timestamps.
void BlitQueue::retire(Lane& lane) {
  while (!lane.pending.empty() && lane.timeline->reached(lane.pending.front().value)) {
    const Operation& operation = lane.pending.front();
    if (operation.host_dst) {
      std::memcpy(operation.host_dst, operation.staged, operation.device_view.bytes);
    }
    note_copy(operation.commands->timestamps(), &lane == &up_ ? upload_ns_ : download_ns_);
    lane.ring->give_back();
    lane.pending.pop_front();
  }
}

void BlitQueue::note_copy(Timestamps times, uint64_t& total_ns) {
  total_ns += times.end_ns - times.start_ns;
  overlap_.add_copy(times);
  const bool up = &total_ns == &upload_ns_;
  if (trace_) trace_->add(up ? TraceTrack::kUpload : TraceTrack::kDownload, "copy", times);
}

TimelinePoint BlitQueue::point(const Lane& lane, uint64_t value) const {
  const auto failed = lane.failed.lower_bound(value);
  return {failed == lane.failed.end() ? lane.timeline : failed->second, value};
}

TimelinePoint BlitQueue::completion(BlitId id) const {
  const std::lock_guard lock(mutex_);
  if (id == 0) return {};
  if (kind_of(id) == kSharedRead) {
    const auto it = shared_reads_.find(value_of(id));
    return it == shared_reads_.end() ? TimelinePoint{} : it->second.after;
  }
  return point(kind_of(id) == kUp ? up_ : down_, value_of(id));
}

WaitResult BlitQueue::wait(BlitId id, std::chrono::nanoseconds timeout) {
  if (id == 0) return WaitResult::kReached;
  if (kind_of(id) == kSharedRead) return wait_shared_read(value_of(id), timeout);
  if (wait_point(completion(id), timeout) == WaitResult::kTimeout) return WaitResult::kTimeout;
  const std::lock_guard lock(mutex_);
  retire(kind_of(id) == kUp ? up_ : down_);
  return WaitResult::kReached;
}

WaitResult BlitQueue::wait_shared_read(uint64_t key, std::chrono::nanoseconds timeout) {
  TimelinePoint after;
  {
    const std::lock_guard lock(mutex_);
    const auto it = shared_reads_.find(key);
    if (it == shared_reads_.end()) return WaitResult::kReached;
    after = it->second.after;
  }
  try {
    if (wait_point(after, timeout) == WaitResult::kTimeout) return WaitResult::kTimeout;
  } catch (const DeviceError&) {
    const std::lock_guard lock(mutex_);
    shared_reads_.erase(key);
    throw;
  }
  // The lock keeps a second waiter, and cancel(), until the bytes have arrived.
  const std::lock_guard lock(mutex_);
  const auto it = shared_reads_.find(key);
  if (it == shared_reads_.end()) return WaitResult::kReached;
  const SharedRead& read = it->second;
  Timestamps times;
  times.start_ns = device_->clock_ns();
  std::memcpy(read.dst, read.src, read.bytes);
  times.end_ns = device_->clock_ns();
  note_copy(times, download_ns_);
  ++counts_.total_downloads;
  ++counts_.no_copy_count;
  counts_.download_bytes += read.bytes;
  shared_reads_.erase(it);
  return WaitResult::kReached;
}

void BlitQueue::cancel(BlitId id) {
  const std::lock_guard lock(mutex_);
  if (kind_of(id) == kSharedRead) shared_reads_.erase(value_of(id));
  if (kind_of(id) != kDown) return;
  const auto last =
      std::find_if(down_.pending.begin(), down_.pending.end(),
                   [&](const Operation& operation) { return operation.value == value_of(id); });
  if (last != down_.pending.end()) forget(down_, last->transfer);
}

WaitResult BlitQueue::wait_point(const TimelinePoint& point, std::chrono::nanoseconds timeout) {
  if (point.reached()) return WaitResult::kReached;
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
  wait_ns_ += now_ns() - start;
  ++sync_waits_;
  return result;
}

WaitResult BlitQueue::wait_all(std::chrono::nanoseconds timeout) {
  TimelinePoint up;
  TimelinePoint down;
  std::vector<uint64_t> reads;
  {
    const std::lock_guard lock(mutex_);
    if (!up_.pending.empty()) up = {up_.timeline, up_.pending.back().value};
    if (!down_.pending.empty()) down = {down_.timeline, down_.pending.back().value};
    for (const auto& [key, read] : shared_reads_) reads.push_back(key);
  }
  for (const TimelinePoint& end : {up, down}) {
    if (wait_point(end, timeout) == WaitResult::kTimeout) return WaitResult::kTimeout;
  }
  for (const uint64_t key : reads) {
    if (wait_shared_read(key, timeout) == WaitResult::kTimeout) return WaitResult::kTimeout;
  }
  const std::lock_guard lock(mutex_);
  retire(up_);
  retire(down_);
  return WaitResult::kReached;
}

void BlitQueue::add_compute(Timestamps compute) {
  const std::lock_guard lock(mutex_);
  overlap_.add_compute(compute);
}

BlitStatistics BlitQueue::statistics() const {
  const std::lock_guard lock(mutex_);
  BlitStatistics out = counts_;
  out.enabled = true;
  out.avg_upload_ms =
      out.total_uploads ? to_ms(upload_ns_) / static_cast<double>(out.total_uploads) : 0;
  out.avg_download_ms =
      out.total_downloads ? to_ms(download_ns_) / static_cast<double>(out.total_downloads) : 0;
  out.overlap_ratio = overlap_.ratio();
  out.sync_wait_count = sync_waits_;
  out.avg_sync_wait_ms =
      out.sync_wait_count ? to_ms(wait_ns_) / static_cast<double>(out.sync_wait_count) : 0;
  out.queue_depth = static_cast<uint32_t>(up_.pending.size() + down_.pending.size());
  return out;
}

void BlitQueue::reset_statistics() {
  const std::lock_guard lock(mutex_);
  counts_ = {};
  upload_ns_ = download_ns_ = 0;
  wait_ns_ = sync_waits_ = 0;
  overlap_.reset();
}

}  // namespace krserve::runtime
