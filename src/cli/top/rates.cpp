#include "cli/top/rates.h"

#include <algorithm>
#include <initializer_list>

namespace krserve::cli {
namespace {

// Of a reuse rate over fewer, see engine/component_status.cpp.
constexpr double kEnoughSteps = 32;

std::optional<double> ratio(double part, double whole, double scale = 1) {
  if (whole <= 0) return std::nullopt;
  return part / whole * scale;
}

std::optional<double> mean_ms(const SumAndCount& before, const SumAndCount& now) {
  return ratio(now.sum_s - before.sum_s, now.count - before.count, 1e3);
}

bool fell(const Snapshot& before, const Snapshot& now) {
  struct Pair {
    double before;
    double now;
  };
  for (const Pair& p : std::initializer_list<Pair>{
           {before.requests.generated_tokens, now.requests.generated_tokens},
           {before.requests.steps, now.requests.steps},
           {before.pool.allocations, now.pool.allocations},
           {before.blit.uploads, now.blit.uploads},
           {before.ring.acquisitions, now.ring.acquisitions},
           {before.ttft.count, now.ttft.count}}) {
    if (p.now < p.before) return true;
  }
  return false;
}

void add_pool(const PoolReading& before, const PoolReading& now, Rates& out) {
  const double allocations = now.allocations - before.allocations;
  const double fallbacks = now.fallbacks - before.fallbacks;
  out.allocations = allocations / out.seconds;
  out.fallbacks = fallbacks / out.seconds;
  out.exhaustions = now.exhaustions - before.exhaustions;
  if (now.enabled) out.hit_rate = ratio(allocations - fallbacks, allocations);
}

void add_blit(const BlitReading& before, const BlitReading& now, Rates& out) {
  out.uploads = (now.uploads - before.uploads) / out.seconds;
  out.downloads = (now.downloads - before.downloads) / out.seconds;
  out.upload_bytes = (now.upload_bytes - before.upload_bytes) / out.seconds;
  out.download_bytes = (now.download_bytes - before.download_bytes) / out.seconds;
  out.no_copy = (now.no_copy - before.no_copy) / out.seconds;
  out.sync_waits = (now.sync_waits - before.sync_waits) / out.seconds;
  out.stalls = (now.stalls - before.stalls) / out.seconds;
  if (now.enabled) {
    // Compute that ends later is added later: an interval may get a share of the one before.
    const auto met = ratio(now.overlapped_ms - before.overlapped_ms, now.copy_ms - before.copy_ms);
    if (met) out.overlap_ratio = std::min(1.0, *met);
  }
}

void add_ring(const RingReading& before, const RingReading& now, Rates& out) {
  const double acquisitions = now.acquisitions - before.acquisitions;
  out.acquisitions = acquisitions / out.seconds;
  out.waits = (now.waits - before.waits) / out.seconds;
  if (!now.enabled || acquisitions < kEnoughSteps) return;
  out.reuse_rate = ratio(now.replays - before.replays, acquisitions);
  out.avg_wait_ms = ratio(now.wait_ms - before.wait_ms, acquisitions);
}

std::optional<double> of_interval(const GradedReading& reading, const Rates& rates,
                                  const Snapshot& snapshot) {
  if (rates.seconds <= 0) return std::nullopt;
  if (reading.metric == "hit_rate") return rates.hit_rate;
  if (reading.metric == "overlap_ratio") return rates.overlap_ratio;
  if (reading.metric == "reuse_rate") return rates.reuse_rate;
  if (reading.metric == "avg_wait_ms") return rates.avg_wait_ms;
  if (reading.metric == "exhaustion_count" && snapshot.pool.enabled) return rates.exhaustions;
  return std::nullopt;
}

}  // namespace

Rates rates_between(const Snapshot& before, const Snapshot& now) {
  Rates out;
  const double seconds = std::chrono::duration<double>(now.taken - before.taken).count();
  if (!now.same_run(before) || seconds <= 0 || fell(before, now)) return out;
  out.seconds = seconds;
  const RequestReading& a = before.requests;
  const RequestReading& b = now.requests;
  out.generated_tokens = (b.generated_tokens - a.generated_tokens) / seconds;
  out.prompt_tokens = (b.prompt_tokens - a.prompt_tokens) / seconds;
  out.steps = (b.steps - a.steps) / seconds;
  out.completed = (b.completed - a.completed) / seconds;
  out.cpu_cores = (now.cpu_s - before.cpu_s) / seconds;
  out.device_busy = (now.device_busy_ms - before.device_busy_ms) / 1e3 / seconds;
  out.ttft_ms = mean_ms(before.ttft, now.ttft);
  out.inter_token_ms = mean_ms(before.inter_token, now.inter_token);
  out.queue_ms = mean_ms(before.queue, now.queue);
  add_pool(before.pool, now.pool, out);
  add_blit(before.blit, now.blit, out);
  add_ring(before.ring, now.ring, out);
  return out;
}

GradedRow grade_row(const GradedReading& reading, const Rates& rates, const Snapshot& snapshot) {
  GradedRow row{of_interval(reading, rates, snapshot), reading.value, engine::Grade::kNoData};
  // Bursts are graded by the hour, and a moment's count is no rate; a depth is one of the moment.
  const bool hourly = reading.metric == "exhaustion_count";
  if (reading.metric == "queue_depth") row.now = reading.value;
  const std::optional<double> graded = hourly || !row.now ? row.since_start : row.now;
  if (!graded) return row;
  engine::GradedMetric limits;
  limits.higher_is_better = reading.higher_is_better;
  limits.target = reading.target;
  limits.warning = reading.warning;
  limits.critical = reading.critical;
  row.grade = engine::grade_of(limits, *graded);
  return row;
}

}  // namespace krserve::cli
