// Snapshots of the three components' counters. Field names are the seed document's where it has
// one.
#pragma once

#include <array>
#include <cstdint>

namespace krserve::runtime {

// What memory is for.
enum class MemoryTag : uint32_t { kWeights, kKv, kActivations, kStaging, kOther };
inline constexpr uint32_t kMemoryTags = 5;
const char* to_string(MemoryTag tag);

struct TagStatistics {
  uint64_t bytes = 0;
  uint64_t objects = 0;
  uint64_t peak_bytes = 0;
};

struct PoolStatistics {
  bool enabled = false;
  uint32_t total_heaps = 0;
  uint32_t active_heaps = 0;  // heaps with a live allocation
  double hit_rate = 0;        // (total - fallback) / total
  double utilization = 0;     // live bytes in heaps / heap bytes
  uint64_t total_allocations = 0;
  uint64_t fallback_allocations = 0;  // served by an on-demand device buffer
  double largest_allocation_mb = 0;
  uint64_t exhaustion_count = 0;    // bursts of fallback
  uint64_t device_allocations = 0;  // heaps and buffers asked of the device, ever
  uint64_t heap_bytes = 0;
  uint64_t on_demand_bytes = 0;  // with heap_bytes, what the pool holds of the device
  uint64_t cached_bytes = 0;     // free small blocks kept for reuse
  uint64_t heaps_grown = 0;      // heaps added because the others were full, ever
  uint64_t heaps_trimmed = 0;    // of those, given back, ever
  uint64_t live_bytes = 0;       // heaps and on-demand together
  uint64_t live_objects = 0;
  uint64_t peak_bytes = 0;
  uint64_t largest_free_block_bytes = 0;
  double fragmentation = 0;  // free bytes outside the largest free block of their heap / free bytes
  std::array<TagStatistics, kMemoryTags> tags{};
  // The engine's: total_allocations by generated token, and a step's activations with and without
  // overlap of what is not alive together (0 where steps have no static plan).
  double allocations_per_token = 0;
  uint64_t activation_planned_bytes = 0;
  uint64_t activation_naive_bytes = 0;
};

struct BlitStatistics {
  bool enabled = false;
  uint64_t total_uploads = 0;
  uint64_t total_downloads = 0;
  uint64_t upload_bytes = 0;
  uint64_t download_bytes = 0;
  double avg_upload_ms = 0;
  double avg_download_ms = 0;
  double overlap_ratio = 0;      // time a copy ran while compute ran / time copies ran
  uint64_t sync_wait_count = 0;  // waits that had to block
  double avg_sync_wait_ms = 0;
  uint64_t no_copy_count = 0;  // transfers that were stores into shared memory
  uint64_t stall_count = 0;    // submissions that waited for room in the queue or staging ring
  uint32_t queue_depth = 0;
  uint32_t peak_queue_depth = 0;
};

struct RingStatistics {
  bool enabled = false;
  uint32_t ring_size = 0;
  uint64_t total_acquisitions = 0;
  double reuse_rate = 0;   // acquisitions that replayed a recording / total
  double avg_wait_ms = 0;  // over all acquisitions
  double max_wait_ms = 0;
  uint64_t wait_events = 0;  // acquisitions that had to wait
  uint64_t timeouts = 0;
  uint64_t recordings = 0;  // steps encoded into a recording
  uint64_t rebuilds = 0;
  std::array<uint64_t, 9> occupancy{};  // [n]: acquisitions that found n slots in flight
  double gap_p50_us = 0;                // device idle time between consecutive steps
  double gap_p99_us = 0;
  uint64_t gap_count = 0;
};

}  // namespace krserve::runtime
