#include "cli/bench/report.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <fstream>

#include "base/error.h"
#include "base/process.h"
#include "base/units.h"
#include "kernels/ops/read_bandwidth.h"
#include "server/version.h"

namespace krserve::cli {

using Json = nlohmann::json;

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  const double median = n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
  return {median, values.front(), values.back()};
}

Json to_json(const Spread& spread) {
  return {{"median", spread.median}, {"min", spread.min}, {"max", spread.max}};
}

namespace {

Json pool_json(const runtime::PoolStatistics& s) {
  Json tags;
  for (uint32_t i = 0; i < runtime::kMemoryTags; ++i) {
    const auto& tag = s.tags[i];
    tags[runtime::to_string(static_cast<runtime::MemoryTag>(i))] = {
        {"bytes", tag.bytes}, {"objects", tag.objects}, {"peak_bytes", tag.peak_bytes}};
  }
  return {{"enabled", s.enabled},
          {"total_heaps", s.total_heaps},
          {"active_heaps", s.active_heaps},
          {"hit_rate", s.hit_rate},
          {"utilization", s.utilization},
          {"total_allocations", s.total_allocations},
          {"fallback_allocations", s.fallback_allocations},
          {"largest_allocation_mb", s.largest_allocation_mb},
          {"exhaustion_count", s.exhaustion_count},
          {"device_allocations", s.device_allocations},
          {"allocations_per_token", s.allocations_per_token},
          {"heap_bytes", s.heap_bytes},
          {"on_demand_bytes", s.on_demand_bytes},
          {"cached_bytes", s.cached_bytes},
          {"heaps_grown", s.heaps_grown},
          {"heaps_trimmed", s.heaps_trimmed},
          {"live_bytes", s.live_bytes},
          {"live_objects", s.live_objects},
          {"peak_bytes", s.peak_bytes},
          {"largest_free_block_bytes", s.largest_free_block_bytes},
          {"fragmentation", s.fragmentation},
          {"activation_planned_bytes", s.activation_planned_bytes},
          {"activation_naive_bytes", s.activation_naive_bytes},
          {"tags", tags}};
}

Json blit_json(const runtime::BlitStatistics& s) {
  Json stalls;
  for (uint32_t i = 0; i < runtime::kBlitStalls; ++i) {
    stalls[runtime::to_string(static_cast<runtime::BlitStall>(i))] = s.stalls[i];
  }
  return {{"enabled", s.enabled},
          {"total_uploads", s.total_uploads},
          {"total_downloads", s.total_downloads},
          {"upload_bytes", s.upload_bytes},
          {"download_bytes", s.download_bytes},
          {"avg_upload_ms", s.avg_upload_ms},
          {"avg_download_ms", s.avg_download_ms},
          {"copy_ms", s.copy_ms},
          {"overlapped_ms", s.overlapped_ms},
          {"overlap_ratio", s.overlap_ratio},
          {"sync_wait_count", s.sync_wait_count},
          {"avg_sync_wait_ms", s.avg_sync_wait_ms},
          {"no_copy_count", s.no_copy_count},
          {"upload_gb_per_s", s.upload_gb_per_s},
          {"download_gb_per_s", s.download_gb_per_s},
          {"mapped_bytes", s.mapped_bytes},
          {"coalesced_count", s.coalesced_count},
          {"failed_count", s.failed_count},
          {"cancelled_count", s.cancelled_count},
          {"stall_count", s.stall_count},
          {"stalls", stalls},
          {"staging_bytes", s.staging_bytes},
          {"queue_depth", s.queue_depth},
          {"peak_queue_depth", s.peak_queue_depth}};
}

Json gaps_json(const runtime::RingStatistics& s) {
  Json out;
  for (uint32_t i = 0; i < runtime::kGapCauses; ++i) {
    const auto& gap = s.gaps[i];
    out[runtime::to_string(static_cast<runtime::GapCause>(i))] = {
        {"count", gap.count},   {"total_ms", gap.total_ms}, {"p50_us", gap.p50_us},
        {"p99_us", gap.p99_us}, {"max_us", gap.max_us},     {"buckets", gap.buckets}};
  }
  return out;
}

Json ring_json(const runtime::RingStatistics& s) {
  return {{"enabled", s.enabled},
          {"ring_size", s.ring_size},
          {"total_acquisitions", s.total_acquisitions},
          {"replays", s.replays},
          {"reuse_rate", s.reuse_rate},
          {"wait_ms", s.wait_ms},
          {"avg_wait_ms", s.avg_wait_ms},
          {"max_wait_ms", s.max_wait_ms},
          {"avg_blocked_ms", s.avg_blocked_ms},
          {"max_blocked_ms", s.max_blocked_ms},
          {"wait_events", s.wait_events},
          {"timeouts", s.timeouts},
          {"recordings", s.recordings},
          {"re_records", s.re_records},
          {"evictions", s.evictions},
          {"rebuilds", s.rebuilds},
          {"occupancy", s.occupancy},
          {"gap_p50_us", s.gap_p50_us},
          {"gap_p99_us", s.gap_p99_us},
          {"gap_count", s.gap_count},
          {"gap_bounds_us", runtime::kGapBoundsUs},
          {"gaps", gaps_json(s)}};
}

constexpr uint64_t kBandwidthChunk = 1 * kMiB;

// More than any last-level cache; more still on a device whose passes are over before their launch
// is forgotten.
uint64_t bandwidth_bytes(const DeviceInfo& info) {
  return info.unified_memory ? 512 * kMiB : 4096 * kMiB;
}

}  // namespace

Json statistics_json(const engine::EngineStatistics& statistics) {
  return {{"pool", pool_json(statistics.pool)},
          {"blit", blit_json(statistics.blit)},
          {"ring", ring_json(statistics.ring)}};
}

double peak_rss_mb() {
  return static_cast<double>(process_usage().peak_resident_bytes) / static_cast<double>(kMiB);
}

BandwidthProbe::BandwidthProbe(Device& device)
    : device_(device),
      data_(device.new_buffer(bandwidth_bytes(device.info()), Storage::kPrivate)),
      sums_(device.new_buffer(data_->size_bytes() / kBandwidthChunk * sizeof(float),
                              Storage::kPrivate)),
      queue_(device.new_queue(QueueKind::kCompute)) {
  auto fill = queue_->begin(CommandBufferUse::kOnce, "fill");
  fill->fill(whole(*data_), 1);  // untouched pages would all be one zero page
  queue_->commit(fill, {}, {});
}

double BandwidthProbe::measure(int passes) {
  const std::array views{whole(*data_), whole(*sums_)};
  double best = 0;
  for (int pass = 0; pass < passes; ++pass) {
    auto commands = queue_->begin(CommandBufferUse::kOnce, "read bandwidth");
    commands->dispatch(ops::Op::kReadBandwidth,
                       ops::ReadBandwidthArgs{data_->size_bytes(), kBandwidthChunk}, views);
    const TimelinePoint done{device_.new_timeline(), 1};
    queue_->commit(commands, {}, {&done, 1});
    done.wait(kNoTimeout);
    const Timestamps times = commands->timestamps();
    const double seconds = static_cast<double>(times.end_ns - times.start_ns) / 1e9;
    if (seconds > 0)
      best = std::max(best, static_cast<double>(data_->size_bytes()) / seconds / 1e9);
  }
  return best;
}

void add_provenance(Json& result, const Device& device, const std::string& command) {
  std::array<char, 32> date{};
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  std::strftime(date.data(), date.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  result["date"] = date.data();
  result["machine"] = device.info().name;
  result["backend"] = device.info().backend;
  result["command"] = command;
  result["version"] = server::kVersion;
}

void write_result(const Json& result, const std::string& path) {
  if (path.empty()) return;
  std::ofstream file(path);
  file << result.dump(2) << '\n';
  file.close();
  if (!file) throw_error<Error>("bench.write", "{} could not be written", path);
}

}  // namespace krserve::cli
