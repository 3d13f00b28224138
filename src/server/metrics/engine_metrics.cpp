#include "server/metrics/engine_metrics.h"

#include <fmt/format.h>

#include "engine/request.h"

namespace krserve::server {
namespace {

using engine::EngineStatistics;
using engine::FinishReason;
using runtime::MemoryTag;
using runtime::TagStatistics;

double as_double(uint64_t value) {
  return static_cast<double>(value);
}

double finished(const EngineStatistics& statistics, FinishReason reason) {
  return as_double(statistics.finished_total[static_cast<size_t>(reason)]);
}

void write_histograms(PrometheusWriter& writer, const EngineStatistics& s) {
  writer.histogram("vllm:time_to_first_token_seconds", "Time from arrival to the first token.",
                   s.time_to_first_token_s);
  writer.histogram("vllm:inter_token_latency_seconds", "Time between tokens of a sequence.",
                   s.inter_token_latency_s);
  writer.histogram("vllm:e2e_request_latency_seconds", "Time from arrival to the last token.",
                   s.e2e_latency_s);
  writer.histogram("vllm:request_queue_time_seconds", "Time spent waiting.", s.queue_time_s);
  writer.histogram("vllm:request_prefill_time_seconds", "Time spent in prefill.", s.prefill_time_s);
  writer.histogram("vllm:request_decode_time_seconds", "Time spent in decode.", s.decode_time_s);
  writer.histogram("vllm:request_prompt_tokens", "Prompt tokens of a sequence.", s.prompt_tokens);
  writer.histogram("vllm:request_generation_tokens", "Generated tokens of a sequence.",
                   s.generation_tokens);
  writer.histogram("vllm:iteration_tokens_total", "Tokens of one engine step.", s.iteration_tokens);
}

using TagValue = uint64_t TagStatistics::*;

void write_by_tag(PrometheusWriter& writer, const runtime::PoolStatistics& pool,
                  std::string_view name, std::string_view help, TagValue value) {
  writer.family(name, help, "gauge");
  for (uint32_t i = 0; i < runtime::kMemoryTags; ++i) {
    const char* tag = runtime::to_string(static_cast<MemoryTag>(i));
    writer.sample(name, {{"tag", tag}}, as_double(pool.tags[i].*value));
  }
}

void write_pool(PrometheusWriter& w, const runtime::PoolStatistics& p) {
  w.gauge("krserve:pool_enabled", "1 if the memory pool is on.", p.enabled ? 1 : 0);
  w.gauge("krserve:pool_total_heaps", "Heaps that the pool holds.", p.total_heaps);
  w.gauge("krserve:pool_active_heaps", "Heaps with a live allocation.", p.active_heaps);
  w.gauge("krserve:pool_hit_rate", "Allocations served from heaps, 0 to 1.", p.hit_rate);
  w.gauge("krserve:pool_utilization", "Live bytes in heaps by heap bytes, 0 to 1.", p.utilization);
  w.counter("krserve:pool_allocations_total", "Allocations.", as_double(p.total_allocations));
  w.counter("krserve:pool_fallback_allocations_total",
            "Allocations served by an on-demand device buffer.", as_double(p.fallback_allocations));
  w.gauge("krserve:pool_largest_allocation_mb", "Largest allocation so far in MiB.",
          p.largest_allocation_mb);
  w.counter("krserve:pool_exhaustion_total", "Bursts of fallback allocations.",
            as_double(p.exhaustion_count));
  w.counter("krserve:pool_device_allocations_total", "Heaps and buffers asked of the device.",
            as_double(p.device_allocations));
  w.gauge("krserve:pool_allocations_per_token", "Allocations by generated token.",
          p.allocations_per_token);
  w.gauge("krserve:pool_heap_bytes", "Bytes of all heaps.", as_double(p.heap_bytes));
  w.gauge("krserve:pool_on_demand_bytes", "Bytes of on-demand device buffers.",
          as_double(p.on_demand_bytes));
  w.gauge("krserve:pool_cached_bytes", "Free small blocks kept for reuse.",
          as_double(p.cached_bytes));
  w.counter("krserve:pool_heaps_grown_total", "Heaps added because the others were full.",
            as_double(p.heaps_grown));
  w.counter("krserve:pool_heaps_trimmed_total", "Added heaps given back to the device.",
            as_double(p.heaps_trimmed));
  w.gauge("krserve:pool_live_bytes", "Bytes in use, in heaps and on demand.",
          as_double(p.live_bytes));
  w.gauge("krserve:pool_live_objects", "Allocations in use.", as_double(p.live_objects));
  w.gauge("krserve:pool_peak_bytes", "Most bytes ever in use.", as_double(p.peak_bytes));
  w.gauge("krserve:pool_largest_free_block_bytes", "Largest free block in a heap.",
          as_double(p.largest_free_block_bytes));
  w.gauge("krserve:pool_fragmentation",
          "Free bytes outside the largest free block of their heap, 0 to 1.", p.fragmentation);
  w.gauge("krserve:pool_activation_planned_bytes", "Activations of the largest step, overlapped.",
          as_double(p.activation_planned_bytes));
  w.gauge("krserve:pool_activation_naive_bytes", "Activations of the largest step, one by one.",
          as_double(p.activation_naive_bytes));
  write_by_tag(w, p, "krserve:pool_tag_bytes", "Bytes in use by purpose.", &TagStatistics::bytes);
  write_by_tag(w, p, "krserve:pool_tag_objects", "Allocations in use by purpose.",
               &TagStatistics::objects);
  write_by_tag(w, p, "krserve:pool_tag_peak_bytes", "Most bytes ever in use by purpose.",
               &TagStatistics::peak_bytes);
}

void write_blit(PrometheusWriter& w, const runtime::BlitStatistics& b) {
  w.gauge("krserve:blit_enabled", "1 if the blit queue is on.", b.enabled ? 1 : 0);
  w.counter("krserve:blit_uploads_total", "Transfers to the device.", as_double(b.total_uploads));
  w.counter("krserve:blit_downloads_total", "Transfers to the host.", as_double(b.total_downloads));
  w.counter("krserve:blit_upload_bytes_total", "Bytes to the device.", as_double(b.upload_bytes));
  w.counter("krserve:blit_download_bytes_total", "Bytes to the host.", as_double(b.download_bytes));
  w.gauge("krserve:blit_avg_upload_ms", "Mean time of an upload.", b.avg_upload_ms);
  w.gauge("krserve:blit_avg_download_ms", "Mean time of a download.", b.avg_download_ms);
  w.gauge("krserve:blit_overlap_ratio", "Copy time during which compute ran, 0 to 1.",
          b.overlap_ratio);
  w.counter("krserve:blit_copy_seconds_total", "Time copies ran.", b.copy_ms / 1e3);
  w.counter("krserve:blit_overlapped_seconds_total", "Time copies ran while compute ran.",
            b.overlapped_ms / 1e3);
  w.counter("krserve:blit_sync_waits_total", "Waits that had to block.",
            as_double(b.sync_wait_count));
  w.gauge("krserve:blit_avg_sync_wait_ms", "Mean time of a wait.", b.avg_sync_wait_ms);
  w.gauge("krserve:blit_upload_gb_per_s", "Bytes uploaded by the time copies ran.",
          b.upload_gb_per_s);
  w.gauge("krserve:blit_download_gb_per_s", "Bytes downloaded by the time copies ran.",
          b.download_gb_per_s);
  w.counter("krserve:blit_no_copy_total", "Transfers and tensors in memory that both sides share.",
            as_double(b.no_copy_count));
  w.counter("krserve:blit_mapped_bytes_total",
            "Bytes that the device reads where the host has them.", as_double(b.mapped_bytes));
  w.counter("krserve:blit_coalesced_total", "Uploads that joined the copy of another.",
            as_double(b.coalesced_count));
  w.counter("krserve:blit_failed_total", "Pieces lost to a device error.",
            as_double(b.failed_count));
  w.counter("krserve:blit_cancelled_total", "Downloads cancelled.", as_double(b.cancelled_count));
  w.family("krserve:blit_stalls_total", "Pieces that waited before they were queued, by cause.",
           "counter");
  for (uint32_t i = 0; i < runtime::kBlitStalls; ++i) {
    const char* cause = runtime::to_string(static_cast<runtime::BlitStall>(i));
    w.sample("krserve:blit_stalls_total", {{"cause", cause}}, as_double(b.stalls[i]));
  }
  w.gauge("krserve:blit_staging_bytes", "Staging memory held.", as_double(b.staging_bytes));
  w.gauge("krserve:blit_queue_depth", "Pieces pending.", b.queue_depth);
  w.gauge("krserve:blit_peak_queue_depth", "Most pieces ever pending.", b.peak_queue_depth);
}

void write_gaps(PrometheusWriter& w, const runtime::RingStatistics& r) {
  constexpr std::string_view kName = "krserve:ring_gap_seconds";
  const std::string bucket = std::string(kName) + "_bucket";
  w.family(kName, "Idle time of the device between steps by cause.", "histogram");
  for (uint32_t i = 0; i < runtime::kGapCauses; ++i) {
    const runtime::GapStatistics& gap = r.gaps[i];
    const char* cause = runtime::to_string(static_cast<runtime::GapCause>(i));
    uint64_t below = 0;
    for (size_t b = 0; b < runtime::kGapBoundsUs.size(); ++b) {
      below += gap.buckets[b];
      const std::string bound = prometheus_number(runtime::kGapBoundsUs[b] / 1e6);
      w.sample(bucket, {{"cause", cause}, {"le", bound}}, as_double(below));
    }
    w.sample(bucket, {{"cause", cause}, {"le", "+Inf"}}, as_double(gap.count));
    w.sample(std::string(kName) + "_sum", {{"cause", cause}}, gap.total_ms / 1e3);
    w.sample(std::string(kName) + "_count", {{"cause", cause}}, as_double(gap.count));
  }
}

void write_ring(PrometheusWriter& w, const runtime::RingStatistics& r) {
  w.gauge("krserve:ring_enabled", "1 if the command ring is on.", r.enabled ? 1 : 0);
  w.gauge("krserve:ring_size", "Slots.", r.ring_size);
  w.counter("krserve:ring_acquisitions_total", "Slots acquired.", as_double(r.total_acquisitions));
  w.gauge("krserve:ring_reuse_rate", "Acquisitions that replayed a recording, 0 to 1.",
          r.reuse_rate);
  w.counter("krserve:ring_replays_total", "Steps that replayed a recording.", as_double(r.replays));
  w.counter("krserve:ring_wait_seconds_total", "Waits for a slot beyond the device's own time.",
            r.wait_ms / 1e3);
  w.gauge("krserve:ring_avg_wait_ms", "Mean wait for a slot beyond the device's own time.",
          r.avg_wait_ms);
  w.gauge("krserve:ring_max_wait_ms", "Longest wait for a slot beyond the device's own time.",
          r.max_wait_ms);
  w.gauge("krserve:ring_avg_blocked_ms", "Mean wait for a slot, the device's work included.",
          r.avg_blocked_ms);
  w.gauge("krserve:ring_max_blocked_ms", "Longest wait for a slot, the device's work included.",
          r.max_blocked_ms);
  w.counter("krserve:ring_waits_total", "Times the next slot's step had not ended.",
            as_double(r.wait_events));
  w.counter("krserve:ring_timeouts_total", "Waits that ran out of time.", as_double(r.timeouts));
  w.counter("krserve:ring_recordings_total", "Steps encoded into a recording.",
            as_double(r.recordings));
  w.counter("krserve:ring_re_records_total", "Recordings of a key that the slot had had before.",
            as_double(r.re_records));
  w.counter("krserve:ring_evictions_total", "Recordings that gave way to newer ones.",
            as_double(r.evictions));
  w.counter("krserve:ring_rebuilds_total", "Rebuilds after a device error.", as_double(r.rebuilds));
  w.family("krserve:ring_occupancy_total", "Acquisitions by slots found in flight.", "counter");
  for (size_t n = 0; n < r.occupancy.size(); ++n) {
    const std::string in_flight = fmt::format("{}", n);
    w.sample("krserve:ring_occupancy_total", {{"in_flight", in_flight}}, as_double(r.occupancy[n]));
  }
  w.gauge("krserve:ring_gap_p50_us", "Median idle time of the device between steps.", r.gap_p50_us);
  w.gauge("krserve:ring_gap_p99_us", "99th percentile of the idle time between steps.",
          r.gap_p99_us);
  w.counter("krserve:ring_gaps_total", "Gaps between steps measured.", as_double(r.gap_count));
  write_gaps(w, r);
}

}  // namespace

void write_engine_metrics(PrometheusWriter& writer, const EngineStatistics& s) {
  writer.gauge("vllm:num_requests_running", "Sequences in the batch.", s.requests_running);
  writer.gauge("vllm:num_requests_waiting", "Sequences waiting.", s.requests_waiting);
  writer.gauge("vllm:kv_cache_usage_perc", "KV pages in use, 0 to 1.", s.kv_cache_usage);
  writer.counter("vllm:prompt_tokens_total", "Prompt tokens processed.",
                 as_double(s.prompt_tokens_total));
  writer.counter("vllm:generation_tokens_total", "Tokens generated.",
                 as_double(s.generation_tokens_total));
  writer.counter("vllm:num_preemptions_total", "Sequences preempted.",
                 as_double(s.preemptions_total));
  writer.family("vllm:request_success_total", "Sequences that ended well.", "counter");
  for (FinishReason reason : {FinishReason::kStop, FinishReason::kLength}) {
    writer.sample("vllm:request_success_total",
                  {{"finished_reason", reason == FinishReason::kStop ? "stop" : "length"}},
                  finished(s, reason));
  }
  write_histograms(writer, s);
}

void write_runtime_metrics(PrometheusWriter& writer, const EngineStatistics& s) {
  writer.gauge("krserve:kv_pages", "KV pages.", s.kv_pages_total);
  writer.gauge("krserve:kv_pages_used", "KV pages in use.", s.kv_pages_used);
  writer.counter("krserve:steps_total", "Engine steps.", as_double(s.steps_total));
  writer.counter("krserve:discarded_tokens_total", "Tokens drawn after a sequence had stopped.",
                 as_double(s.discarded_tokens_total));
  writer.counter("krserve:requests_failed_total", "Sequences that failed.",
                 as_double(s.requests_failed_total));
  writer.counter("krserve:requests_cancelled_total", "Sequences that were cancelled.",
                 finished(s, FinishReason::kCancelled));
  writer.gauge("krserve:device_utilization", "Device busy time by wall time since the last reset.",
               s.device_utilization);
  write_pool(writer, s.pool);
  write_blit(writer, s.blit);
  write_ring(writer, s.ring);
}

}  // namespace krserve::server
