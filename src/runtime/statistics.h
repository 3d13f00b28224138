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

// Why a transfer had to wait before it was queued.
enum class BlitStall : uint32_t { kStagingFull, kPendingLimit, kPriority, kPaced };
inline constexpr uint32_t kBlitStalls = 4;
const char* to_string(BlitStall cause);

struct BlitStatistics {
  bool enabled = false;
  uint64_t total_uploads = 0;
  uint64_t total_downloads = 0;
  uint64_t upload_bytes = 0;
  uint64_t download_bytes = 0;
  double avg_upload_ms = 0;
  double avg_download_ms = 0;
  double copy_ms = 0;            // time copies ran, in all
  double overlapped_ms = 0;      // of it, while compute ran
  double overlap_ratio = 0;      // overlapped_ms / copy_ms
  uint64_t sync_wait_count = 0;  // waits that had to block
  double avg_sync_wait_ms = 0;
  // Transfers that were stores into, or reads of, shared memory, and tensors read where mapped.
  uint64_t no_copy_count = 0;
  uint64_t stall_count = 0;  // pieces that waited before they were queued
  uint32_t queue_depth = 0;
  uint32_t peak_queue_depth = 0;
  double upload_gb_per_s = 0;  // bytes / time copies ran
  double download_gb_per_s = 0;
  uint64_t mapped_bytes = 0;                   // read by the device where the host has them
  uint64_t coalesced_count = 0;                // uploads that joined the device copy of another
  uint64_t failed_count = 0;                   // pieces lost to a device error
  uint64_t cancelled_count = 0;                // downloads
  std::array<uint64_t, kBlitStalls> stalls{};  // stall_count by BlitStall
  uint64_t staging_bytes = 0;                  // staging memory held
};

// Why the device was idle between two consecutive steps.
enum class GapCause : uint32_t {
  kHostLate,  // the step was committed after the one before had ended
  kBlit,      // it was committed, but its upload had not arrived
  kLaunch,    // it was ready, and the device had not started it yet
  kNoWork,    // nothing was there to be run
};
inline constexpr uint32_t kGapCauses = 4;
const char* to_string(GapCause cause);

// Upper bounds of the gap histograms; what is above the last one counts in one bucket more.
inline constexpr std::array<double, 13> kGapBoundsUs{1,   2,   5,    10,   20,   50,   100,
                                                     200, 500, 1000, 2000, 5000, 10000};

struct GapStatistics {
  uint64_t count = 0;
  double total_ms = 0;
  double p50_us = 0;
  double p99_us = 0;
  double max_us = 0;
  std::array<uint64_t, kGapBoundsUs.size() + 1> buckets{};  // each gap in one of them
};

struct RingStatistics {
  bool enabled = false;
  uint32_t ring_size = 0;
  uint64_t total_acquisitions = 0;
  uint64_t replays = 0;   // steps that replayed a recording
  double reuse_rate = 0;  // replays / total_acquisitions
  // Waiting for a slot beyond the device's own time: from the later of the wait's start and the end
  // of the slot's step to the moment the host goes on. In all, and the mean over all acquisitions.
  double wait_ms = 0;
  double avg_wait_ms = 0;
  double max_wait_ms = 0;
  double avg_blocked_ms = 0;  // the whole wait, the device's work included; over all acquisitions
  double max_blocked_ms = 0;
  uint64_t wait_events = 0;  // times the next slot was wanted and its step had not ended
  uint64_t timeouts = 0;
  uint64_t recordings = 0;  // steps encoded into a recording
  uint64_t re_records = 0;  // of them, keys that the slot had recorded before
  uint64_t evictions = 0;   // recordings that gave way to newer ones
  uint64_t rebuilds = 0;
  std::array<uint64_t, 9> occupancy{};  // [n]: acquisitions that found n slots in flight
  // Device idle time between consecutive steps, those without work between them left out; steps
  // that follow at once count as 0.
  double gap_p50_us = 0;
  double gap_p99_us = 0;
  uint64_t gap_count = 0;
  // Gaps longer than 0 by GapCause: each counts in full for the cause that had the largest part.
  std::array<GapStatistics, kGapCauses> gaps{};
};

}  // namespace krserve::runtime
