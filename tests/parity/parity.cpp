#include "parity/parity.h"

namespace krserve::parity {

void Parity::SetUp() {
  device_ = GetParam().open();
  if (!device_) GTEST_SKIP() << GetParam().name << " is not on this machine";
  compute_ = device_->new_queue(QueueKind::kCompute);
  up_ = device_->new_queue(QueueKind::kCopyToDevice);
  down_ = device_->new_queue(QueueKind::kCopyToHost);
}

void Parity::run(Queue& queue, const std::shared_ptr<CommandBuffer>& commands) {
  const TimelinePoint done{device_->new_timeline(), 1};
  queue.commit(commands, {}, {&done, 1});
  ASSERT_EQ(done.wait(kLong), WaitResult::kReached);
  ASSERT_EQ(commands->state(), CommandBufferState::kCompleted);
}

void Parity::write(const BufferView& dst, const void* data, uint64_t bytes) {
  auto staging = device_->new_buffer(bytes, Storage::kStaging);
  std::memcpy(staging->contents(), data, bytes);
  auto commands = begin(*up_);
  commands->copy(dst, whole(*staging));
  run(*up_, commands);
}

void Parity::read(void* data, const BufferView& src, uint64_t bytes) {
  auto staging = device_->new_buffer(bytes, Storage::kStaging);
  auto commands = begin(*down_);
  commands->copy(whole(*staging), src);
  run(*down_, commands);
  std::memcpy(data, staging->contents(), bytes);
}

std::shared_ptr<CommandBuffer> Parity::commit_fill(Queue& queue, const BufferView& dst,
                                                   uint8_t value,
                                                   const std::vector<TimelinePoint>& waits,
                                                   const std::vector<TimelinePoint>& signals) {
  auto commands = begin(queue);
  commands->fill(dst, value);
  queue.commit(commands, waits, signals);
  return commands;
}

}  // namespace krserve::parity
