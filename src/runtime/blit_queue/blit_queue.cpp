#include "runtime/blit_queue/blit_queue.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "base/units.h"

namespace krserve::runtime {
namespace {

// The low bits of an id say what it counts.
enum IdKind : uint64_t { kUp = 1, kDown = 2, kSharedRead = 3 };

BlitId make_id(uint64_t value, IdKind kind) { return value << 2 | kind; }
IdKind kind_of(BlitId id) { return static_cast<IdKind>(id & 3); }
uint64_t value_of(BlitId id) { return id >> 2; }

constexpr std::chrono::microseconds kPollInterval{20};

double to_ms(uint64_t ns) { return static_cast<double>(ns) / 1e6; }

}  // namespace

BlitQueue::BlitQueue(std::shared_ptr<Device> device, const BlitQueueConfig& config)
    : device_(std::move(device)), config_(config) {
  try {
    up_.queue = device_->new_queue(QueueKind::kCopyToDevice);
    down_.queue = device_->new_queue(QueueKind::kCopyToHost);
  } catch (const DeviceError& error) {
    throw_error<DeviceError>(
        "blit_queue.create", "BlitQueue: Failed to create MTLCommandQueue (device unavailable): {}",
        error.what());
  }
  up_.timeline = device_->new_timeline();
  down_.timeline = device_->new_timeline();
}

BlitQueue::~BlitQueue() {
  up_.queue->wait_idle(std::chrono::seconds(10));
  down_.queue->wait_idle(std::chrono::seconds(10));
}

BlitId BlitQueue::upload(const BufferView& dst, const void* src, uint64_t bytes,
                         const TimelinePoint& after) {
  if (bytes == 0) return 0;
  if (upload_no_copy(dst, src, bytes, after)) return 0;
  return make_id(submit(up_, dst, static_cast<const std::byte*>(src), nullptr, bytes, after), kUp);
}

// Shared memory: the upload is a store, as soon as nobody reads the old contents any more.
bool BlitQueue::upload_no_copy(const BufferView& dst, const void* src, uint64_t bytes,
                               const TimelinePoint& after) {
  if (!device_->info().unified_memory || !dst.contents() || !after.reached()) return false;
  Timestamps times;
  times.start_ns = device_->clock_ns();
  std::memcpy(dst.contents(), src, bytes);
  times.end_ns = device_->clock_ns();
  const std::lock_guard lock(mutex_);
  overlap_.add_copy(times);
  upload_ns_ += times.end_ns - times.start_ns;
  ++counts_.total_uploads;
  ++counts_.no_copy_count;
  counts_.upload_bytes += bytes;
  return true;
}

BlitId BlitQueue::download(void* dst, const BufferView& src, uint64_t bytes,
                           const TimelinePoint& after) {
  if (bytes == 0) return 0;
  auto* host = static_cast<std::byte*>(dst);
  if (device_->info().unified_memory && src.contents()) {
    const std::lock_guard lock(mutex_);
    shared_reads_[++last_shared_read_] = {host, src.contents(), bytes, after};
    return make_id(last_shared_read_, kSharedRead);
  }
  return make_id(submit(down_, src, nullptr, host, bytes, after), kDown);
}

uint64_t BlitQueue::submit(Lane& lane, const BufferView& device_view, const std::byte* host_src,
                           std::byte* host_dst, uint64_t bytes, const TimelinePoint& after) {
  Lock lock(mutex_);
  prepare(lane);
  // A transfer larger than the ring goes through it in pieces that keep it busy.
  const uint64_t piece = std::max<uint64_t>(lane.ring->capacity_bytes() / 4, 64);
  uint64_t value = 0;
  for (uint64_t at = 0; at < bytes; at += piece) {
    const uint64_t size = std::min(piece, bytes - at);
    value = submit_chunk(lock, lane, device_view.sub(at, size), host_src ? host_src + at : nullptr,
                         host_dst ? host_dst + at : nullptr, after);
  }
  ++(host_src ? counts_.total_uploads : counts_.total_downloads);
  (host_src ? counts_.upload_bytes : counts_.download_bytes) += bytes;
  return value;
}

// Staging memory on first use; a fresh timeline after a device error, so that later transfers work.
void BlitQueue::prepare(Lane& lane) {
  if (!lane.staging) {
    const uint64_t bytes = static_cast<uint64_t>(config_.staging_buffer_size_mb) * kMiB / 2;
    lane.staging = device_->new_buffer(bytes, Storage::kStaging);
    lane.ring = std::make_unique<StagingRing>(
        bytes, std::max<uint64_t>(64, device_->info().alignment_bytes));
  }
  if (lane.timeline->error()) {
    retire(lane);
    lane.pending.clear();
    while (!lane.ring->empty()) lane.ring->give_back();
    lane.failed_timeline = lane.timeline;
    lane.failed_value = lane.last_value;
    lane.timeline = device_->new_timeline();
  }
}

uint64_t BlitQueue::submit_chunk(Lock& lock, Lane& lane, const BufferView& device_view,
                                 const std::byte* host_src, std::byte* host_dst,
                                 const TimelinePoint& after) {
  uint64_t offset = 0;
  std::byte* staged = take_staging(lock, lane, device_view.bytes, offset);
  const BufferView staged_view{lane.staging.get(), offset, device_view.bytes};
  if (host_src) std::memcpy(staged, host_src, device_view.bytes);
  auto commands = lane.queue->begin(CommandBufferUse::kOnce, host_src ? "upload" : "download");
  if (host_src) {
    commands->copy(device_view, staged_view);
  } else {
    commands->copy(staged_view, device_view);
  }
  // Without shared events the host does the waiting that the device would do.
  if (!config_.use_shared_events) wait_point(after, kNoTimeout);
  const TimelinePoint done{lane.timeline, ++lane.last_value};
  const std::span<const TimelinePoint> waits(
      &after, config_.use_shared_events && after.timeline ? 1U : 0U);
  lane.queue->commit(commands, waits, {&done, 1});
  lane.pending.push_back({done.value, commands, staged, host_dst, device_view.bytes});
  const auto depth = static_cast<uint32_t>(up_.pending.size() + down_.pending.size());
  counts_.peak_queue_depth = std::max(counts_.peak_queue_depth, depth);
  if (config_.verbose_logging) {
    log().debug("[blit_queue.submit] {} #{}: {}, {} pending", host_src ? "upload" : "download",
                done.value, format_bytes(device_view.bytes), depth);
  }
  return done.value;
}

std::byte* BlitQueue::take_staging(Lock& lock, Lane& lane, uint64_t bytes, uint64_t& offset) {
  retire(lane);
  bool stalled = false;
  for (;;) {
    const bool room_in_queue =
        lane.pending.size() < static_cast<size_t>(std::max<int64_t>(1, config_.max_pending_ops));
    const auto taken = room_in_queue ? lane.ring->take(bytes) : std::nullopt;
    if (taken) {
      offset = *taken;
      counts_.stall_count += stalled ? 1 : 0;
      return lane.staging->contents() + offset;
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
  retire(lane);
}

// Everything that has ended: downloads reach their destination, metrics take the timestamps.
void BlitQueue::retire(Lane& lane) {
  while (!lane.pending.empty() && lane.timeline->reached(lane.pending.front().value)) {
    const Operation& operation = lane.pending.front();
    if (operation.host_dst) std::memcpy(operation.host_dst, operation.staged, operation.bytes);
    const Timestamps times = operation.commands->timestamps();
    (operation.host_dst ? download_ns_ : upload_ns_) += times.end_ns - times.start_ns;
    overlap_.add_copy(times);
    lane.ring->give_back();
    lane.pending.pop_front();
  }
}

TimelinePoint BlitQueue::point(const Lane& lane, uint64_t value) const {
  return {value <= lane.failed_value ? lane.failed_timeline : lane.timeline, value};
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
  SharedRead read;
  {
    const std::lock_guard lock(mutex_);
    const auto it = shared_reads_.find(key);
    if (it == shared_reads_.end()) return WaitResult::kReached;
    read = it->second;
  }
  const auto forget = [&] {
    const std::lock_guard lock(mutex_);
    return shared_reads_.erase(key) > 0;
  };
  try {
    if (wait_point(read.after, timeout) == WaitResult::kTimeout) return WaitResult::kTimeout;
  } catch (const DeviceError&) {
    forget();
    throw;
  }
  if (!forget()) return WaitResult::kReached;
  Timestamps times;
  times.start_ns = device_->clock_ns();
  std::memcpy(read.dst, read.src, read.bytes);
  times.end_ns = device_->clock_ns();
  const std::lock_guard lock(mutex_);
  overlap_.add_copy(times);
  download_ns_ += times.end_ns - times.start_ns;
  ++counts_.total_downloads;
  ++counts_.no_copy_count;
  counts_.download_bytes += read.bytes;
  return WaitResult::kReached;
}

WaitResult BlitQueue::wait_point(const TimelinePoint& point, std::chrono::nanoseconds timeout) {
  if (point.reached()) return WaitResult::kReached;
  const uint64_t start = now_ns();
  WaitResult result = WaitResult::kReached;
  if (config_.use_shared_events) {
    result = point.wait(timeout);
  } else {
    while (!point.reached()) {
      if (timeout != kNoTimeout && now_ns() - start >= static_cast<uint64_t>(timeout.count())) {
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
    if (!up_.pending.empty()) up = {up_.timeline, up_.last_value};
    if (!down_.pending.empty()) down = {down_.timeline, down_.last_value};
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
