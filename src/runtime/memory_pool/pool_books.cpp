#include "runtime/memory_pool/pool_books.h"

#include <algorithm>

#include "base/units.h"

namespace krserve::runtime {
namespace {

// The highest since the last look, which starts over from now.
uint64_t take_high(ShardCounts::Count& high, const ShardCounts::Count& now) {
  const uint64_t highest = ShardCounts::get(high);
  const uint64_t current = ShardCounts::get(now);
  if (highest != current) ShardCounts::set(high, current);
  return std::max(highest, current);
}

}  // namespace

void PoolBooks::add(MemoryTag tag, uint64_t held, uint64_t asked) {
  if (tracking_) take_peaks();
  TagStatistics& entry = tags_[static_cast<size_t>(tag)];
  entry.bytes += held;
  entry.objects += 1;
  bytes_ += held;
  if (!tracking_) return;
  take_peaks();
  ++allocations_;
  largest_ = std::max(largest_, asked);
}

void PoolBooks::remove(MemoryTag tag, uint64_t held) {
  if (tracking_) take_peaks();
  TagStatistics& entry = tags_[static_cast<size_t>(tag)];
  entry.bytes -= held;
  entry.objects -= 1;
  bytes_ -= held;
}

void PoolBooks::take_peaks() {
  if (!tracking_) return;
  uint64_t all = bytes_;
  std::array<uint64_t, kMemoryTags> by_tag{};
  for (ShardCounts* shard : shards_) {
    if (ShardCounts::get(shard->total_high) == 0) continue;  // not in use
    all += take_high(shard->total_high, shard->total);
    for (size_t i = 0; i < kMemoryTags; ++i)
      by_tag[i] += take_high(shard->high[i], shard->bytes[i]);
  }
  peak_bytes_ = std::max(peak_bytes_, all);
  for (size_t i = 0; i < kMemoryTags; ++i) {
    tags_[i].peak_bytes = std::max(tags_[i].peak_bytes, tags_[i].bytes + by_tag[i]);
  }
}

void PoolBooks::restart() {
  take_peaks();  // the highs start over
  allocations_ = largest_ = fallbacks = exhaustions = 0;
  peak_bytes_ = 0;
  for (TagStatistics& entry : tags_) entry.peak_bytes = 0;
  for (ShardCounts* shard : shards_) {
    ShardCounts::set(shard->allocations, 0);
    ShardCounts::set(shard->largest, 0);
  }
  take_peaks();
}

uint64_t PoolBooks::live_bytes() const {
  uint64_t sum = bytes_;
  for (const ShardCounts* shard : shards_) sum += ShardCounts::get(shard->total);
  return sum;
}

uint64_t PoolBooks::live_objects() const {
  uint64_t sum = 0;
  for (size_t i = 0; i < kMemoryTags; ++i) {
    sum += tags_[i].objects;
    for (const ShardCounts* shard : shards_) sum += ShardCounts::get(shard->objects[i]);
  }
  return sum;
}

void PoolBooks::write(PoolStatistics& out) {
  take_peaks();
  out.live_bytes = live_bytes();
  out.live_objects = live_objects();
  out.peak_bytes = peak_bytes_;
  out.tags = tags_;
  out.total_allocations = allocations_;
  uint64_t largest = largest_;
  for (const ShardCounts* shard : shards_) {
    out.total_allocations += ShardCounts::get(shard->allocations);
    largest = std::max(largest, ShardCounts::get(shard->largest));
    for (size_t i = 0; i < kMemoryTags; ++i) {
      out.tags[i].bytes += ShardCounts::get(shard->bytes[i]);
      out.tags[i].objects += ShardCounts::get(shard->objects[i]);
    }
  }
  out.largest_allocation_mb = static_cast<double>(largest) / static_cast<double>(kMiB);
  const auto total = static_cast<double>(out.total_allocations);
  out.hit_rate = out.total_allocations ? (total - static_cast<double>(fallbacks)) / total : 0;
  out.fallback_allocations = fallbacks;
  out.exhaustion_count = exhaustions;
  out.device_allocations = device_allocations;
  out.heaps_grown = heaps_grown;
  out.heaps_trimmed = heaps_trimmed;
  out.on_demand_bytes = on_demand_bytes;
}

}  // namespace krserve::runtime
