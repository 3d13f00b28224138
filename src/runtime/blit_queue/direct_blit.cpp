#include "runtime/blit_queue/direct_blit.h"

#include <algorithm>
#include <vector>

#include "base/units.h"
#include "runtime/blit_queue/copy_list.h"

namespace krserve::runtime {
namespace {

// Host memory that upload_from() needs at once.
constexpr uint64_t kPieceBytes = 4 * kMiB;

}  // namespace

DirectBlit::DirectBlit(std::shared_ptr<Device> device)
    : device_(std::move(device)),
      up_(device_->new_queue(QueueKind::kCopyToDevice)),
      down_(device_->new_queue(QueueKind::kCopyToHost)),
      timeline_(device_->new_timeline()) {}

void DirectBlit::copy_and_wait(BlitDirection direction, std::span<const ViewPair> copies,
                               const TimelinePoint& after) {
  Queue& queue = direction == BlitDirection::kUp ? *up_ : *down_;
  if (timeline_->error()) timeline_ = device_->new_timeline();
  auto commands = queue.begin(CommandBufferUse::kOnce, "copy");
  for (const ViewPair& copy : copies) commands->copy(copy.dst, copy.src);
  const TimelinePoint done{timeline_, ++last_value_};
  const uint64_t start = now_ns();
  {
    const TraceInterval interval = meter_.begin_copy(direction);
    queue.commit(commands, {&after, after.timeline ? 1U : 0U}, {&done, 1});
    done.wait(kNoTimeout);
  }
  meter_.add_wait(now_ns() - start);
  meter_.add_copy(direction, bytes_of(copies), commands->timestamps());
}

BlitId DirectBlit::upload(const BufferView& dst, const void* src, uint64_t bytes,
                          const TimelinePoint& after, BlitPriority) {
  if (bytes == 0) return 0;
  check_size(dst, bytes);
  const std::lock_guard turn(turn_mutex_);
  auto host = device_->new_host_view(const_cast<void*>(src), bytes);
  copy_and_wait(BlitDirection::kUp, dst.sub(0, bytes), whole(*host), after);
  meter_.add_transfer(BlitDirection::kUp, bytes);
  return 0;
}

BlitId DirectBlit::upload_from(const BufferView& dst, uint64_t bytes, const BlitFill& fill,
                               const TimelinePoint& after, BlitPriority) {
  if (bytes == 0) return 0;
  check_size(dst, bytes);
  std::vector<std::byte> pageable(std::min(bytes, kPieceBytes));
  for (uint64_t at = 0; at < bytes; at += kPieceBytes) {
    const uint64_t size = std::min(kPieceBytes, bytes - at);
    fill(pageable.data(), at, size);
    const std::lock_guard turn(turn_mutex_);
    auto host = device_->new_host_view(pageable.data(), size);
    copy_and_wait(BlitDirection::kUp, dst.sub(at, size), whole(*host), after);
  }
  meter_.add_transfer(BlitDirection::kUp, bytes);
  return 0;
}

BlitId DirectBlit::download(void* dst, const BufferView& src, uint64_t bytes,
                            const TimelinePoint& after, BlitPriority) {
  if (bytes == 0) return 0;
  check_size(src, bytes);
  const std::lock_guard turn(turn_mutex_);
  auto host = device_->new_host_view(dst, bytes);
  copy_and_wait(BlitDirection::kDown, whole(*host), src.sub(0, bytes), after);
  meter_.add_transfer(BlitDirection::kDown, bytes);
  return 0;
}

// In one command buffer.
BlitId DirectBlit::copy_list(BlitDirection direction, std::span<const ViewPair> pairs,
                             const TimelinePoint& after) {
  const std::vector<ViewPair> copies = checked_pairs(pairs);
  if (copies.empty()) return 0;
  const std::lock_guard turn(turn_mutex_);
  copy_and_wait(direction, copies, after);
  meter_.add_transfer(direction, bytes_of(copies));
  return 0;
}

BlitId DirectBlit::upload_staged(std::span<const ViewPair> pairs, const TimelinePoint& after,
                                 BlitPriority) {
  return copy_list(BlitDirection::kUp, pairs, after);
}

BlitId DirectBlit::download_staged(std::span<const ViewPair> pairs, const TimelinePoint& after,
                                   BlitPriority) {
  return copy_list(BlitDirection::kDown, pairs, after);
}

}  // namespace krserve::runtime
