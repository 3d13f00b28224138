#include "runtime/blit_queue/blit_meter.h"

#include <algorithm>

namespace krserve::runtime {
namespace {

double ratio(uint64_t part, uint64_t whole, double scale = 1) {
  return whole ? static_cast<double>(part) / static_cast<double>(whole) * scale : 0;
}

constexpr double kNsToMs = 1e-6;

}  // namespace

const char* to_string(BlitStall cause) {
  constexpr const char* kNames[kBlitStalls] = {"staging_full", "pending_limit", "priority",
                                               "paced"};
  return kNames[static_cast<size_t>(cause)];
}

TraceInterval BlitMeter::begin_copy(BlitDirection direction) const {
  const bool up = direction == BlitDirection::kUp;
  return {trace_, up ? Signpost::kUpload : Signpost::kDownload, "copy"};
}

TraceInterval BlitMeter::begin_wait() const {
  return {trace_, Signpost::kPhase, "wait for copy"};
}

void BlitMeter::add_transfer(BlitDirection direction, uint64_t bytes, bool no_copy) {
  if (!track_) return;
  const std::lock_guard lock(mutex_);
  const bool up = direction == BlitDirection::kUp;
  ++(up ? counts_.total_uploads : counts_.total_downloads);
  (up ? counts_.upload_bytes : counts_.download_bytes) += bytes;
  counts_.no_copy_count += no_copy ? 1 : 0;
}

void BlitMeter::add_copy(BlitDirection direction, uint64_t bytes, Timestamps times) {
  const bool up = direction == BlitDirection::kUp;
  if (trace_) trace_->add(up ? TraceTrack::kUpload : TraceTrack::kDownload, "copy", times);
  if (!track_) return;
  const std::lock_guard lock(mutex_);
  Copied& copied = copied_[static_cast<size_t>(direction)];
  copied.bytes += bytes;
  if (times.end_ns > times.start_ns) copied.ns += times.end_ns - times.start_ns;
  overlap_.add_copy(times);
}

void BlitMeter::add_compute(Timestamps compute) {
  if (!track_) return;
  const std::lock_guard lock(mutex_);
  overlap_.add_compute(compute);
}

void BlitMeter::add_mapped(uint64_t bytes) {
  if (!track_) return;
  const std::lock_guard lock(mutex_);
  ++counts_.no_copy_count;
  counts_.mapped_bytes += bytes;
}

void BlitMeter::add_wait(uint64_t ns) {
  if (!track_) return;
  const std::lock_guard lock(mutex_);
  ++counts_.sync_wait_count;
  wait_ns_ += ns;
}

void BlitMeter::add_stall(BlitStall cause) {
  if (!track_) return;
  const std::lock_guard lock(mutex_);
  ++counts_.stall_count;
  ++counts_.stalls[static_cast<size_t>(cause)];
}

void BlitMeter::add_coalesced() {
  if (!track_) return;
  const std::lock_guard lock(mutex_);
  ++counts_.coalesced_count;
}

void BlitMeter::add_failed() {
  if (!track_) return;
  const std::lock_guard lock(mutex_);
  ++counts_.failed_count;
}

void BlitMeter::add_cancelled() {
  if (!track_) return;
  const std::lock_guard lock(mutex_);
  ++counts_.cancelled_count;
}

void BlitMeter::enter_queue() {
  if (!track_) return;
  const std::lock_guard lock(mutex_);
  counts_.peak_queue_depth = std::max(counts_.peak_queue_depth, ++depth_);
}

void BlitMeter::leave_queue() {
  if (!track_) return;
  const std::lock_guard lock(mutex_);
  --depth_;
}

BlitStatistics BlitMeter::snapshot() const {
  const std::lock_guard lock(mutex_);
  BlitStatistics out = counts_;
  const Copied& up = copied_[0];
  const Copied& down = copied_[1];
  out.avg_upload_ms = ratio(up.ns, out.total_uploads, kNsToMs);
  out.avg_download_ms = ratio(down.ns, out.total_downloads, kNsToMs);
  out.upload_gb_per_s = ratio(up.bytes, up.ns);  // bytes per ns
  out.download_gb_per_s = ratio(down.bytes, down.ns);
  out.copy_ms = static_cast<double>(overlap_.copy_ns()) * kNsToMs;
  out.overlapped_ms = static_cast<double>(overlap_.overlapped_ns()) * kNsToMs;
  out.overlap_ratio = overlap_.ratio();
  out.avg_sync_wait_ms = ratio(wait_ns_, out.sync_wait_count, kNsToMs);
  return out;
}

void BlitMeter::reset() {
  const std::lock_guard lock(mutex_);
  counts_ = {};
  counts_.peak_queue_depth = depth_;
  copied_ = {};
  wait_ns_ = 0;
  overlap_.reset();
}

}  // namespace krserve::runtime
