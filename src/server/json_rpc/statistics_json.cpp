#include "server/json_rpc/statistics_json.h"

#include "engine/component_status.h"
#include "engine/request.h"

namespace krserve::server::rpc {
namespace {

#define KR_MEMBER(from, name) {#name, from.name}

OrderedJson pool_json(const runtime::PoolStatistics& s) {
  OrderedJson json = {KR_MEMBER(s, enabled),
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
  for (uint32_t i = 0; i < runtime::kMemoryTags; ++i) {
    const runtime::TagStatistics& tag = s.tags[i];
    json["tags"][runtime::to_string(static_cast<runtime::MemoryTag>(i))] = {
        KR_MEMBER(tag, bytes), KR_MEMBER(tag, objects), KR_MEMBER(tag, peak_bytes)};
  }
  return json;
}

OrderedJson blit_json(const runtime::BlitStatistics& s) {
  OrderedJson json = {KR_MEMBER(s, enabled),         KR_MEMBER(s, total_uploads),
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
  for (uint32_t i = 0; i < runtime::kBlitStalls; ++i) {
    json["stalls"][runtime::to_string(static_cast<runtime::BlitStall>(i))] = s.stalls[i];
  }
  return json;
}

OrderedJson ring_json(const runtime::RingStatistics& s) {
  OrderedJson json = {KR_MEMBER(s, enabled),
                      KR_MEMBER(s, ring_size),
                      KR_MEMBER(s, total_acquisitions),
                      KR_MEMBER(s, replays),
                      KR_MEMBER(s, reuse_rate),
                      KR_MEMBER(s, wait_ms),
                      KR_MEMBER(s, avg_wait_ms),
                      KR_MEMBER(s, max_wait_ms),
                      KR_MEMBER(s, avg_blocked_ms),
                      KR_MEMBER(s, max_blocked_ms),
                      KR_MEMBER(s, wait_events),
                      KR_MEMBER(s, timeouts),
                      KR_MEMBER(s, recordings),
                      KR_MEMBER(s, re_records),
                      KR_MEMBER(s, evictions),
                      KR_MEMBER(s, rebuilds),
                      KR_MEMBER(s, occupancy),
                      KR_MEMBER(s, gap_p50_us),
                      KR_MEMBER(s, gap_p99_us),
                      KR_MEMBER(s, gap_count),
                      {"gap_bounds_us", runtime::kGapBoundsUs}};
  for (uint32_t i = 0; i < runtime::kGapCauses; ++i) {
    const runtime::GapStatistics& gap = s.gaps[i];
    json["gaps"][runtime::to_string(static_cast<runtime::GapCause>(i))] = {
        KR_MEMBER(gap, count),  KR_MEMBER(gap, total_ms), KR_MEMBER(gap, p50_us),
        KR_MEMBER(gap, p99_us), KR_MEMBER(gap, max_us),   KR_MEMBER(gap, buckets)};
  }
  return json;
}

OrderedJson histogram_json(const engine::Histogram& h) {
  return {KR_MEMBER(h, bounds), KR_MEMBER(h, counts), KR_MEMBER(h, sum), KR_MEMBER(h, count)};
}

#define KR_HISTOGRAM(from, name) {#name, histogram_json(from.name)}

OrderedJson engine_json(const engine::EngineStatistics& s) {
  OrderedJson json = {KR_MEMBER(s, requests_running),
                      KR_MEMBER(s, requests_waiting),
                      KR_MEMBER(s, kv_cache_usage),
                      KR_MEMBER(s, kv_pages_total),
                      KR_MEMBER(s, kv_pages_used),
                      KR_MEMBER(s, prompt_tokens_total),
                      KR_MEMBER(s, generation_tokens_total),
                      KR_MEMBER(s, preemptions_total),
                      KR_MEMBER(s, steps_total),
                      KR_MEMBER(s, discarded_tokens_total),
                      KR_MEMBER(s, requests_failed_total),
                      KR_MEMBER(s, device_busy_ns),
                      KR_MEMBER(s, device_utilization),
                      KR_MEMBER(s, since_reset_s),
                      KR_HISTOGRAM(s, time_to_first_token_s),
                      KR_HISTOGRAM(s, inter_token_latency_s),
                      KR_HISTOGRAM(s, e2e_latency_s),
                      KR_HISTOGRAM(s, queue_time_s),
                      KR_HISTOGRAM(s, prefill_time_s),
                      KR_HISTOGRAM(s, decode_time_s),
                      KR_HISTOGRAM(s, prompt_tokens),
                      KR_HISTOGRAM(s, generation_tokens),
                      KR_HISTOGRAM(s, iteration_tokens)};
  for (uint32_t i = 0; i < s.finished_total.size(); ++i) {
    json["finished_total"][engine::to_string(static_cast<engine::FinishReason>(i))] =
        s.finished_total[i];
  }
  const engine::HostStepStatistics& host = s.host_step;
  json["host_step"] = {KR_MEMBER(host, count), KR_MEMBER(host, mean_us), KR_MEMBER(host, p50_us),
                       KR_MEMBER(host, p99_us)};
  return json;
}

#undef KR_HISTOGRAM
#undef KR_MEMBER

OrderedJson status_json(const engine::EngineStatistics& statistics) {
  OrderedJson status = OrderedJson::array();
  for (const engine::GradedMetric& m : engine::grade_components(statistics)) {
    const bool has_value = m.grade != engine::Grade::kNoData;
    status.push_back({{"component", m.component},
                      {"metric", m.metric},
                      {"value", has_value ? OrderedJson(m.value) : OrderedJson()},
                      {"unit", m.unit},
                      {"grade", engine::to_string(m.grade)},
                      {"target", m.target},
                      {"warning", m.warning},
                      {"critical", m.critical},
                      {"higher_is_better", m.higher_is_better}});
  }
  return status;
}

}  // namespace

OrderedJson statistics_json(const engine::EngineStatistics& statistics) {
  return {{"memory_pool", pool_json(statistics.pool)},
          {"blit_queue", blit_json(statistics.blit)},
          {"command_buffer_ring", ring_json(statistics.ring)},
          {"engine", engine_json(statistics)},
          {"status", status_json(statistics)}};
}

}  // namespace krserve::server::rpc
