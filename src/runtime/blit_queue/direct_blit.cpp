#include "base/units.h"
#include "runtime/blit_queue/blit_queue.h"

namespace krserve::runtime {

DirectBlit::DirectBlit(std::shared_ptr<Device> device)
    : device_(std::move(device)),
      up_(device_->new_queue(QueueKind::kCopyToDevice)),
      down_(device_->new_queue(QueueKind::kCopyToHost)),
      timeline_(device_->new_timeline()) {}

uint64_t DirectBlit::copy_and_wait(Queue& queue, const BufferView& dst, const BufferView& src,
                                   const TimelinePoint& after) {
  if (timeline_->error()) timeline_ = device_->new_timeline();
  auto commands = queue.begin(CommandBufferUse::kOnce, "copy");
  commands->copy(dst, src);
  const TimelinePoint done{timeline_, ++last_value_};
  const uint64_t start = now_ns();
  queue.commit(commands, {&after, after.timeline ? 1U : 0U}, {&done, 1});
  done.wait(kNoTimeout);
  const Timestamps times = commands->timestamps();
  const std::lock_guard lock(mutex_);
  wait_ns_ += now_ns() - start;
  ++counts_.sync_wait_count;
  overlap_.add_copy(times);
  const bool up = &queue == up_.get();
  if (trace_) trace_->add(up ? TraceTrack::kUpload : TraceTrack::kDownload, "copy", times);
  return times.end_ns - times.start_ns;
}

BlitId DirectBlit::upload(const BufferView& dst, const void* src, uint64_t bytes,
                          const TimelinePoint& after) {
  if (bytes == 0) return 0;
  check_size(dst, bytes);
  const std::lock_guard turn(turn_mutex_);
  auto host = device_->new_host_view(const_cast<void*>(src), bytes);
  const uint64_t took = copy_and_wait(*up_, dst.sub(0, bytes), whole(*host), after);
  const std::lock_guard lock(mutex_);
  upload_ns_ += took;
  ++counts_.total_uploads;
  counts_.upload_bytes += bytes;
  return 0;
}

BlitId DirectBlit::download(void* dst, const BufferView& src, uint64_t bytes,
                            const TimelinePoint& after) {
  if (bytes == 0) return 0;
  check_size(src, bytes);
  const std::lock_guard turn(turn_mutex_);
  auto host = device_->new_host_view(dst, bytes);
  const uint64_t took = copy_and_wait(*down_, whole(*host), src.sub(0, bytes), after);
  const std::lock_guard lock(mutex_);
  download_ns_ += took;
  ++counts_.total_downloads;
  counts_.download_bytes += bytes;
  return 0;
}

void DirectBlit::add_compute(Timestamps compute) {
  const std::lock_guard lock(mutex_);
  overlap_.add_compute(compute);
}

BlitStatistics DirectBlit::statistics() const {
  const std::lock_guard lock(mutex_);
  BlitStatistics out = counts_;
  const auto average_ms = [](uint64_t ns, uint64_t count) {
    return count ? static_cast<double>(ns) / 1e6 / static_cast<double>(count) : 0;
  };
  out.avg_upload_ms = average_ms(upload_ns_, out.total_uploads);
  out.avg_download_ms = average_ms(download_ns_, out.total_downloads);
  out.avg_sync_wait_ms = average_ms(wait_ns_, out.sync_wait_count);
  out.overlap_ratio = overlap_.ratio();
  return out;
}

void DirectBlit::reset_statistics() {
  const std::lock_guard lock(mutex_);
  counts_ = {};
  upload_ns_ = download_ns_ = wait_ns_ = 0;
  overlap_.reset();
}

}  // namespace krserve::runtime
