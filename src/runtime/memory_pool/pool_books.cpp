#include "runtime/memory_pool/pool_books.h"

#include "base/units.h"

namespace krserve::runtime {

void PoolBooks::take_peaks() {
  uint64_t all = 0;
  std::array<uint64_t, kMemoryTags> by_tag{};
  for (ShardCounts* shard : shards_) {
    all += shard->peak_bytes;
    shard->peak_bytes = shard->bytes;
    for (size_t i = 0; i < kMemoryTags; ++i) {
      by_tag[i] += shard->tags[i].peak_bytes;
      shard->tags[i].peak_bytes = shard->tags[i].bytes;
    }
  }
  peak_bytes_ = std::max(peak_bytes_, all);
  for (size_t i = 0; i < kMemoryTags; ++i) tag_peaks_[i] = std::max(tag_peaks_[i], by_tag[i]);
}

void PoolBooks::restart(bool tracking) {
  if (!tracking) return;
  take_peaks();  // the shards' start over from now
  peak_bytes_ = 0;
  tag_peaks_ = {};
  take_peaks();
  fallbacks = exhaustions = 0;
  for (ShardCounts* shard : shards_) shard->allocations = shard->largest = 0;
}

uint64_t PoolBooks::live_bytes() const {
  uint64_t sum = 0;
  for (const ShardCounts* shard : shards_) sum += shard->bytes;
  return sum;
}

uint64_t PoolBooks::live_objects() const {
  uint64_t sum = 0;
  for (const ShardCounts* shard : shards_) {
    for (const TagStatistics& tag : shard->tags) sum += tag.objects;
  }
  return sum;
}

void PoolBooks::write(PoolStatistics& out, bool tracking) {
  if (tracking) take_peaks();
  out.live_bytes = live_bytes();
  out.live_objects = live_objects();
  out.peak_bytes = peak_bytes_;
  uint64_t largest = 0;
  for (size_t i = 0; i < kMemoryTags; ++i) out.tags[i] = {0, 0, tag_peaks_[i]};
  for (const ShardCounts* shard : shards_) {
    out.total_allocations += shard->allocations;
    largest = std::max(largest, shard->largest);
    for (size_t i = 0; i < kMemoryTags; ++i) {
      out.tags[i].bytes += shard->tags[i].bytes;
      out.tags[i].objects += shard->tags[i].objects;
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
