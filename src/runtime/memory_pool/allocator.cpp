#include "runtime/memory_pool/allocator.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/units.h"

namespace krserve::runtime {

const char* to_string(MemoryTag tag) {
  constexpr const char* kNames[kMemoryTags] = {"weights", "kv", "activations", "staging", "other"};
  return kNames[static_cast<uint32_t>(tag)];
}

void Allocation::give_back() noexcept {
  owner_->release(*this);
  owner_ = nullptr;
  view_ = {};
  buffer_.reset();
}

void MemoryLedger::add(MemoryTag tag, uint64_t bytes) {
  TagStatistics& entry = tags_[static_cast<uint32_t>(tag)];
  entry.bytes += bytes;
  entry.objects += 1;
  entry.peak_bytes = std::max(entry.peak_bytes, entry.bytes);
  live_bytes_ += bytes;
  live_objects_ += 1;
  peak_bytes_ = std::max(peak_bytes_, live_bytes_);
}

void MemoryLedger::remove(MemoryTag tag, uint64_t bytes) {
  TagStatistics& entry = tags_[static_cast<uint32_t>(tag)];
  entry.bytes -= bytes;
  entry.objects -= 1;
  live_bytes_ -= bytes;
  live_objects_ -= 1;
}

void MemoryLedger::restart_peaks() {
  peak_bytes_ = live_bytes_;
  for (TagStatistics& entry : tags_) entry.peak_bytes = entry.bytes;
}

void MemoryLedger::write(PoolStatistics& out) const {
  out.live_bytes = live_bytes_;
  out.live_objects = live_objects_;
  out.peak_bytes = peak_bytes_;
  out.tags = tags_;
}

std::string describe_live(const std::array<TagStatistics, kMemoryTags>& tags) {
  std::string text;
  for (uint32_t i = 0; i < kMemoryTags; ++i) {
    if (tags[i].objects == 0) continue;
    text += fmt::format("{}{}: {} objects, {}", text.empty() ? "" : "; ",
                        to_string(static_cast<MemoryTag>(i)), tags[i].objects,
                        format_bytes(tags[i].bytes));
  }
  return text;
}

bool MemoryLedger::balanced() const {
  uint64_t bytes = 0;
  uint64_t objects = 0;
  for (const TagStatistics& entry : tags_) {
    bytes += entry.bytes;
    objects += entry.objects;
  }
  return bytes == live_bytes_ && objects == live_objects_ && live_bytes_ <= peak_bytes_;
}

void MemoryLimit::check(const Device& device, uint64_t bytes) const {
  if (limit_bytes == 0) return;
  const uint64_t used = device.memory().live_bytes + reserved_bytes;
  if (used <= limit_bytes && bytes <= limit_bytes - used) return;
  throw_error<OutOfMemoryError>(
      "memory_pool.allocate",
      "{} refused: {} of {} in use; lower engine.kv_cache_mb or raise memory.limit_mb",
      format_bytes(bytes), format_bytes(used), format_bytes(limit_bytes));
}

DirectAllocator::DirectAllocator(std::shared_ptr<Device> device, MemoryLimit limit)
    : device_(std::move(device)), limit_(limit) {}

DirectAllocator::~DirectAllocator() {
  collect(true);
  const std::string live = describe_live(statistics().tags);
  if (!live.empty()) log().warn("[direct_allocator.destroy] still allocated at shutdown: {}", live);
}

Allocation DirectAllocator::allocate(uint64_t bytes, MemoryTag tag) {
  free_due();
  std::unique_ptr<Buffer> buffer;
  {
    const std::lock_guard growth(growth_mutex_);
    limit_.check(*device_, bytes);
    buffer = device_->new_buffer(bytes, Storage::kShared);
  }
  Allocation result;
  result.buffer_ = std::move(buffer);
  result.owner_ = this;
  result.view_ = {result.buffer_.get(), 0, bytes};
  result.tag_ = tag;
  result.held_bytes_ = bytes;
  const std::lock_guard lock(mutex_);
  ledger_.add(tag, bytes);
  ++total_allocations_;
  largest_bytes_ = std::max(largest_bytes_, bytes);
  return result;
}

void DirectAllocator::release(Allocation& allocation) noexcept {
  const std::lock_guard lock(mutex_);
  ledger_.remove(allocation.tag_, allocation.held_bytes_);
}

PoolStatistics DirectAllocator::statistics() const {
  const std::lock_guard lock(mutex_);
  PoolStatistics out;
  out.total_allocations = total_allocations_;
  out.device_allocations = total_allocations_;
  out.largest_allocation_mb = static_cast<double>(largest_bytes_) / static_cast<double>(kMiB);
  ledger_.write(out);
  return out;
}

bool DirectAllocator::check_integrity() const {
  const std::lock_guard lock(mutex_);
  return ledger_.balanced();
}

void DirectAllocator::reset_statistics() {
  const std::lock_guard lock(mutex_);
  total_allocations_ = 0;
  largest_bytes_ = 0;
  ledger_.restart_peaks();
}

}  // namespace krserve::runtime
