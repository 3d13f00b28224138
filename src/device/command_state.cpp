#include "device/command_state.h"

#include "base/error.h"

namespace krserve {

void CommandState::check_encoding() const {
  if (get() == CommandBufferState::kEncoding) return;
  throw_error<DeviceError>("command_buffer.encode", "'{}' was committed already; begin a new one",
                           label_);
}

void CommandState::mark_committed() {
  CommandBufferState state = CommandBufferState::kEncoding;
  if (state_.compare_exchange_strong(state, CommandBufferState::kCommitted)) {
    before_commit_ = CommandBufferState::kEncoding;
    return;
  }
  if (use_ == CommandBufferUse::kRecorded) {
    state = CommandBufferState::kCompleted;
    if (state_.compare_exchange_strong(state, CommandBufferState::kCommitted)) {
      before_commit_ = CommandBufferState::kCompleted;
      return;
    }
  }
  throw_error<DeviceError>(
      "queue.commit", "'{}' {}", label_,
      state == CommandBufferState::kCommitted ? "is still in flight; wait for its last execution"
      : state == CommandBufferState::kFailed  ? "failed before; encode it afresh"
                                              : "was committed already and is for one use");
}

void CommandState::take_back() {
  state_.store(before_commit_, std::memory_order_release);
}

void CommandState::mark_ended(bool completed) {
  state_.store(completed ? CommandBufferState::kCompleted : CommandBufferState::kFailed,
               std::memory_order_release);
}

}  // namespace krserve
