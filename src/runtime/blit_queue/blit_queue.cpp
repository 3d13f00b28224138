#include "runtime/blit_queue/blit_queue.h"

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/units.h"
#include "runtime/blit_queue/copy_list.h"

namespace krserve::runtime {
namespace {

// The low bits of an id say what it counts.
enum IdKind : uint64_t { kUpId = 1, kDownId = 2, kSharedReadId = 3 };

BlitId make_id(uint64_t value, IdKind kind) {
  return value << 2 | kind;
}
IdKind kind_of(BlitId id) {
  return static_cast<IdKind>(id & 3);
}
uint64_t value_of(BlitId id) {
  return id >> 2;
}

// How often a callback thread looks whether it is to stop.
constexpr std::chrono::milliseconds kCallbackPoll{20};

}  // namespace

const char* to_string(BlitPriority priority) {
  constexpr const char* kNames[kBlitPriorities] = {"step", "kv", "weights"};
  return kNames[static_cast<size_t>(priority)];
}

void Transfers::check_size(const BufferView& view, uint64_t bytes) {
  if (bytes <= view.bytes) return;
  throw_error<DeviceError>("transfer.submit", "{} bytes do not fit the view of {} bytes", bytes,
                           view.bytes);
}

BlitQueue::BlitQueue(std::shared_ptr<Device> device, const BlitQueueConfig& config,
                     const StagingBudget& budget)
    : device_(std::move(device)),
      config_(config),
      meter_(config.track_metrics),
      pacer_((config.background_mb_per_s > 0 ? static_cast<uint64_t>(config.background_mb_per_s)
                                             : device_->info().background_copy_mb_per_s) *
             kMiB),
      up_callbacks_([this](BlitId id) { return wait_for(id, kCallbackPoll, false); }),
      down_callbacks_([this](BlitId id) { return wait_for(id, kCallbackPoll, false); }) {
  try {
    up_ = std::make_unique<CopyLane>(device_, BlitDirection::kUp, config_, budget, meter_);
    down_ = std::make_unique<CopyLane>(device_, BlitDirection::kDown, config_, budget, meter_);
  } catch (const DeviceError& error) {
    throw_error<DeviceError>("blit_queue.create",
                             "BlitQueue: Failed to create MTLCommandQueue (device unavailable): {}",
                             error.what());
  }
  if (device_->info().unified_memory) return;
  up_->prepare();
  down_->prepare();
}

BlitQueue::~BlitQueue() {
  up_callbacks_.stop();
  down_callbacks_.stop();
}

BlitId BlitQueue::upload(const BufferView& dst, const void* src, uint64_t bytes,
                         const TimelinePoint& after, BlitPriority priority) {
  if (bytes == 0) return 0;
  check_size(dst, bytes);
  LaneTransfer transfer;
  transfer.device_view = dst.sub(0, bytes);
  transfer.host_src = static_cast<const std::byte*>(src);
  transfer.after = after;
  transfer.priority = priority;
  return submit_upload(transfer);
}

BlitId BlitQueue::upload_from(const BufferView& dst, uint64_t bytes, const BlitFill& fill,
                              const TimelinePoint& after, BlitPriority priority) {
  if (bytes == 0) return 0;
  check_size(dst, bytes);
  LaneTransfer transfer;
  transfer.device_view = dst.sub(0, bytes);
  transfer.fill = &fill;
  transfer.after = after;
  transfer.priority = priority;
  return submit_upload(transfer);
}

BlitId BlitQueue::submit_upload(const LaneTransfer& transfer) {
  const uint64_t bytes = transfer.bytes();
  pace(transfer.priority, bytes);
  if (upload_no_copy(transfer)) return 0;
  const uint64_t value = up_->submit(transfer);
  meter_.add_transfer(BlitDirection::kUp, bytes);
  return make_id(value, kUpId);
}

// All of a device with unified memory, of others the staging memory.
bool BlitQueue::is_host_memory(const BufferView& view) const {
  return view.contents() &&
         (device_->info().unified_memory || view.buffer->storage() == Storage::kStaging);
}

// Host memory: the upload is a store, as soon as nobody reads the old contents any more and
// earlier uploads to the same place are over.
bool BlitQueue::can_store(const BufferView& dst, const TimelinePoint& after) {
  return is_host_memory(dst) && after.reached() && !up_->is_pending(dst);
}

void BlitQueue::store(const BufferView& dst, const std::byte* src, const BlitFill* fill) {
  const TraceInterval interval = meter_.begin_copy(BlitDirection::kUp);
  Timestamps times;
  if (meter_.times_copies()) times.start_ns = device_->clock_ns();
  if (fill) {
    (*fill)(dst.contents(), 0, dst.bytes);
  } else {
    std::memcpy(dst.contents(), src, dst.bytes);
  }
  if (meter_.times_copies()) times.end_ns = device_->clock_ns();
  meter_.add_copy(BlitDirection::kUp, dst.bytes, times);
}

bool BlitQueue::upload_no_copy(const LaneTransfer& transfer) {
  const BufferView& dst = transfer.device_view;
  if (!transfer.pairs.empty() || !can_store(dst, transfer.after)) return false;
  store(dst, transfer.host_src, transfer.fill);
  meter_.add_transfer(BlitDirection::kUp, dst.bytes, true);
  log_no_copy("upload", dst.bytes, transfer.priority);
  return true;
}

// Paced one by one: these copies take the memory from the steps.
bool BlitQueue::upload_no_copy(std::span<const ViewPair> pairs, const TimelinePoint& after,
                               BlitPriority priority) {
  const bool stores = std::all_of(pairs.begin(), pairs.end(), [&](const ViewPair& pair) {
    return pair.src.contents() && can_store(pair.dst, after);
  });
  if (!stores) return false;
  for (const ViewPair& pair : pairs) {
    pace(priority, pair.src.bytes);
    store(pair.dst, pair.src.contents(), nullptr);
  }
  const uint64_t bytes = bytes_of(pairs);
  meter_.add_transfer(BlitDirection::kUp, bytes, true);
  log_no_copy("upload", bytes, priority);
  return true;
}

BlitId BlitQueue::add_shared_read(SharedRead read) {
  const std::lock_guard lock(reads_mutex_);
  shared_reads_.emplace(++last_shared_read_, std::move(read));
  return make_id(last_shared_read_, kSharedReadId);
}

BlitId BlitQueue::download(void* dst, const BufferView& src, uint64_t bytes,
                           const TimelinePoint& after, BlitPriority priority) {
  if (bytes == 0) return 0;
  check_size(src, bytes);
  auto* host = static_cast<std::byte*>(dst);
  if (is_host_memory(src)) {
    return add_shared_read({{{host, src.contents(), bytes}}, after, priority});
  }
  LaneTransfer transfer;
  transfer.device_view = src.sub(0, bytes);
  transfer.host_dst = host;
  transfer.after = after;
  transfer.priority = priority;
  return submit_download(transfer);
}

BlitId BlitQueue::submit_download(const LaneTransfer& transfer) {
  const uint64_t bytes = transfer.bytes();
  pace(transfer.priority, bytes);
  const uint64_t value = down_->submit(transfer);
  meter_.add_transfer(BlitDirection::kDown, bytes);
  return make_id(value, kDownId);
}

BlitId BlitQueue::upload_staged(std::span<const ViewPair> pairs, const TimelinePoint& after,
                                BlitPriority priority) {
  const std::vector<ViewPair> list = checked_pairs(pairs);
  if (list.empty() || upload_no_copy(list, after, priority)) return 0;
  LaneTransfer transfer;
  transfer.pairs = list;
  transfer.after = after;
  transfer.priority = priority;
  return submit_upload(transfer);
}

BlitId BlitQueue::download_staged(std::span<const ViewPair> pairs, const TimelinePoint& after,
                                  BlitPriority priority) {
  const std::vector<ViewPair> list = checked_pairs(pairs);
  if (list.empty()) return 0;
  const bool reads = device_->info().unified_memory &&
                     std::all_of(list.begin(), list.end(), [](const ViewPair& pair) {
                       return pair.dst.contents() && pair.src.contents();
                     });
  if (reads) {
    SharedRead read{{}, after, priority};
    for (const auto& [dst, src] : list) {
      read.copies.push_back({dst.contents(), src.contents(), src.bytes});
    }
    return add_shared_read(std::move(read));
  }
  LaneTransfer transfer;
  transfer.pairs = list;
  transfer.after = after;
  transfer.priority = priority;
  return submit_download(transfer);
}

// Background copies leave the memory to the steps, as far as blit_queue.background_mb_per_s says.
void BlitQueue::pace(BlitPriority priority, uint64_t bytes) {
  if (priority == BlitPriority::kStep) return;
  const uint64_t delay_ns = pacer_.delay_ns(now_ns(), bytes);
  if (delay_ns == 0) return;
  meter_.add_stall(BlitStall::kPaced);
  if (config_.verbose_logging) {
    log().info("[blit_queue.pace] {} of {} waits {} us", to_string(priority), format_bytes(bytes),
               delay_ns / 1000);
  }
  std::this_thread::sleep_for(std::chrono::nanoseconds(delay_ns));
}

void BlitQueue::log_no_copy(const char* what, uint64_t bytes, BlitPriority priority) const {
  if (!config_.verbose_logging) return;
  log().info("[blit_queue.no_copy] {}: {}, {}", what, format_bytes(bytes), to_string(priority));
}

TimelinePoint BlitQueue::completion(BlitId id) {
  if (id == 0) return {};
  if (kind_of(id) != kSharedReadId) {
    return (kind_of(id) == kUpId ? *up_ : *down_).completion(value_of(id));
  }
  const std::lock_guard lock(reads_mutex_);
  const auto it = shared_reads_.find(value_of(id));
  return it == shared_reads_.end() ? TimelinePoint{} : it->second.after;
}

WaitResult BlitQueue::wait(BlitId id, std::chrono::nanoseconds timeout) {
  return wait_for(id, timeout, true);
}

WaitResult BlitQueue::wait_for(BlitId id, std::chrono::nanoseconds timeout, bool counted) {
  if (id == 0) return WaitResult::kReached;
  const uint64_t value = value_of(id);
  if (kind_of(id) == kSharedReadId) return wait_shared_read(value, timeout, counted);
  return (kind_of(id) == kUpId ? *up_ : *down_).wait(value, timeout, counted);
}

WaitResult BlitQueue::wait_shared_read(uint64_t key, std::chrono::nanoseconds timeout,
                                       bool counted) {
  const TimelinePoint after = completion(make_id(key, kSharedReadId));
  try {
    if (down_->wait_point(after, timeout, counted) == WaitResult::kTimeout) {
      return WaitResult::kTimeout;
    }
  } catch (const DeviceError&) {
    meter_.add_failed();
    forget_shared_read(key);
    throw;
  }
  Lock lock(reads_mutex_);
  land(lock, key);
  return WaitResult::kReached;
}

// A second waiter, and cancel(), wait until the bytes have arrived; other transfers do not.
void BlitQueue::land(Lock& lock, uint64_t key) {
  const auto it = shared_reads_.find(key);
  if (it == shared_reads_.end()) return;
  if (it->second.landing) {
    read_landed_.wait(lock, [&] { return !shared_reads_.contains(key); });
    return;
  }
  SharedRead& read = it->second;  // nobody takes it away while it lands
  read.landing = true;
  lock.unlock();
  const uint64_t bytes = read_shared(read);
  meter_.add_transfer(BlitDirection::kDown, bytes, true);
  log_no_copy("download", bytes, read.priority);
  lock.lock();
  shared_reads_.erase(key);
  read_landed_.notify_all();
}

uint64_t BlitQueue::read_shared(const SharedRead& read) {
  uint64_t bytes = 0;
  for (const HostCopy& copy : read.copies) {
    pace(read.priority, copy.bytes);
    const TraceInterval interval = meter_.begin_copy(BlitDirection::kDown);
    Timestamps times;
    if (meter_.times_copies()) times.start_ns = device_->clock_ns();
    std::memcpy(copy.dst, copy.src, copy.bytes);
    if (meter_.times_copies()) times.end_ns = device_->clock_ns();
    meter_.add_copy(BlitDirection::kDown, copy.bytes, times);
    bytes += copy.bytes;
  }
  return bytes;
}

void BlitQueue::forget_shared_read(uint64_t key) {
  Lock lock(reads_mutex_);
  const auto it = shared_reads_.find(key);
  if (it == shared_reads_.end()) return;
  if (it->second.landing) {
    read_landed_.wait(lock, [&] { return !shared_reads_.contains(key); });
    return;
  }
  shared_reads_.erase(it);
  read_landed_.notify_all();
}

void BlitQueue::cancel(BlitId id) {
  if (kind_of(id) != kSharedReadId && kind_of(id) != kDownId) return;
  if (config_.verbose_logging) log().info("[blit_queue.cancel] download {}", id);
  callbacks_of(id).cancel(id);
  if (kind_of(id) == kDownId) return down_->cancel(value_of(id));
  {
    const std::lock_guard lock(reads_mutex_);
    if (shared_reads_.contains(value_of(id))) meter_.add_cancelled();
  }
  forget_shared_read(value_of(id));
}

WaitResult BlitQueue::wait_all(std::chrono::nanoseconds timeout) {
  const uint64_t up = up_->last_value();
  const uint64_t down = down_->last_value();
  std::vector<BlitId> ids;
  if (up) ids.push_back(make_id(up, kUpId));
  if (down) ids.push_back(make_id(down, kDownId));
  {
    const std::lock_guard lock(reads_mutex_);
    for (const auto& [key, read] : shared_reads_) ids.push_back(make_id(key, kSharedReadId));
  }
  const uint64_t start = up_->clock_ns();
  for (const BlitId id : ids) {
    auto left = timeout;
    if (timeout != kNoTimeout) {
      const std::chrono::nanoseconds spent(up_->clock_ns() - start);
      left = std::max(timeout - spent, std::chrono::nanoseconds(0));
    }
    if (wait_for(id, left, true) == WaitResult::kTimeout) return WaitResult::kTimeout;
  }
  return WaitResult::kReached;
}

CallbackThread& BlitQueue::callbacks_of(BlitId id) {
  return kind_of(id) == kDownId || kind_of(id) == kSharedReadId ? down_callbacks_ : up_callbacks_;
}

void BlitQueue::on_complete(BlitId id, BlitCallback callback) {
  completion(id);  // it must have started
  callbacks_of(id).post(id, std::move(callback));
}

void BlitQueue::add_compute(Timestamps compute) {
  meter_.add_compute(compute);
  pacer_.note_compute(now_ns());
}

void BlitQueue::add_mapped(uint64_t bytes) {
  meter_.add_mapped(bytes);
  log_no_copy("mapped", bytes, BlitPriority::kWeights);
}

BlitStatistics BlitQueue::statistics() const {
  BlitStatistics out = meter_.snapshot();
  out.enabled = true;
  out.queue_depth = up_->depth() + down_->depth();
  out.staging_bytes = up_->staging_bytes() + down_->staging_bytes();
  return out;
}

void BlitQueue::reset_statistics() {
  meter_.reset();
}

}  // namespace krserve::runtime
