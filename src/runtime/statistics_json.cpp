#include "runtime/statistics_json.h"

#include <nlohmann/json.hpp>

namespace krserve::runtime {

#define KR_MEMBER(from, name) {#name, (from).name}

nlohmann::ordered_json to_json(const PoolStatistics& s) {
  nlohmann::ordered_json json = {KR_MEMBER(s, enabled),
                                 KR_MEMBER(s, total_heaps),
                                 KR_MEMBER(s, active_heaps),
                                 KR_MEMBER(s, hit_rate),
                                 KR_MEMBER(s, utilization),
                                 KR_MEMBER(s, total_allocations),
                                 KR_MEMBER(s, fallback_allocations),
                                 KR_MEMBER(s, largest_allocation_mb),
                                 KR_MEMBER(s, exhaustion_count),
                                 KR_MEMBER(s, device_allocations),
                                 KR_MEMBER(s, heap_bytes),
                                 KR_MEMBER(s, on_demand_bytes),
                                 KR_MEMBER(s, cached_bytes),
                                 KR_MEMBER(s, heaps_grown),
                                 KR_MEMBER(s, heaps_trimmed),
                                 KR_MEMBER(s, live_bytes),
                                 KR_MEMBER(s, live_objects),
                                 KR_MEMBER(s, peak_bytes),
                                 KR_MEMBER(s, largest_free_block_bytes),
                                 KR_MEMBER(s, fragmentation),
                                 KR_MEMBER(s, allocations_per_token),
                                 KR_MEMBER(s, activation_planned_bytes),
                                 KR_MEMBER(s, activation_naive_bytes)};
  for (uint32_t i = 0; i < kMemoryTags; ++i) {
    const TagStatistics& tag = s.tags[i];
    json["tags"][to_string(static_cast<MemoryTag>(i))] = {
        KR_MEMBER(tag, bytes), KR_MEMBER(tag, objects), KR_MEMBER(tag, peak_bytes)};
  }
  return json;
}

nlohmann::ordered_json to_json(const BlitStatistics& s) {
  nlohmann::ordered_json json = {KR_MEMBER(s, enabled),         KR_MEMBER(s, total_uploads),
                                 KR_MEMBER(s, total_downloads), KR_MEMBER(s, upload_bytes),
                                 KR_MEMBER(s, download_bytes),  KR_MEMBER(s, avg_upload_ms),
                                 KR_MEMBER(s, avg_download_ms), KR_MEMBER(s, copy_ms),
                                 KR_MEMBER(s, overlapped_ms),   KR_MEMBER(s, overlap_ratio),
                                 KR_MEMBER(s, sync_wait_count), KR_MEMBER(s, avg_sync_wait_ms),
                                 KR_MEMBER(s, no_copy_count),   KR_MEMBER(s, stall_count),
                                 KR_MEMBER(s, queue_depth),     KR_MEMBER(s, peak_queue_depth),
                                 KR_MEMBER(s, upload_gb_per_s), KR_MEMBER(s, download_gb_per_s),
                                 KR_MEMBER(s, mapped_bytes),    KR_MEMBER(s, coalesced_count),
                                 KR_MEMBER(s, failed_count),    KR_MEMBER(s, cancelled_count),
                                 KR_MEMBER(s, staging_bytes)};
  for (uint32_t i = 0; i < kBlitStalls; ++i) {
    json["stalls"][to_string(static_cast<BlitStall>(i))] = s.stalls[i];
  }
  return json;
}

nlohmann::ordered_json to_json(const RingStatistics& s) {
  nlohmann::ordered_json json = {
      KR_MEMBER(s, enabled),        KR_MEMBER(s, ring_size),   KR_MEMBER(s, total_acquisitions),
      KR_MEMBER(s, replays),        KR_MEMBER(s, reuse_rate),  KR_MEMBER(s, wait_ms),
      KR_MEMBER(s, avg_wait_ms),    KR_MEMBER(s, max_wait_ms), KR_MEMBER(s, avg_blocked_ms),
      KR_MEMBER(s, max_blocked_ms), KR_MEMBER(s, wait_events), KR_MEMBER(s, timeouts),
      KR_MEMBER(s, recordings),     KR_MEMBER(s, re_records),  KR_MEMBER(s, evictions),
      KR_MEMBER(s, rebuilds),       KR_MEMBER(s, occupancy),   KR_MEMBER(s, gap_p50_us),
      KR_MEMBER(s, gap_p99_us),     KR_MEMBER(s, gap_count),   {"gap_bounds_us", kGapBoundsUs}};
  for (uint32_t i = 0; i < kGapCauses; ++i) {
    const GapStatistics& gap = s.gaps[i];
    json["gaps"][to_string(static_cast<GapCause>(i))] = {
        KR_MEMBER(gap, count),  KR_MEMBER(gap, total_ms), KR_MEMBER(gap, p50_us),
        KR_MEMBER(gap, p99_us), KR_MEMBER(gap, max_us),   KR_MEMBER(gap, buckets)};
  }
  return json;
}

#undef KR_MEMBER

}  // namespace krserve::runtime
