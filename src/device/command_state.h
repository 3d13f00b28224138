// The life of a command buffer, the same on every back end: encoding, committed, ended, and for
// recorded ones committed again.
#pragma once

#include <atomic>
#include <string>
#include <string_view>

#include "device/queue.h"

namespace krserve {

class CommandState {
 public:
  CommandState(CommandBufferUse use, std::string_view label) : use_(use), label_(label) {}

  CommandBufferState get() const { return state_.load(std::memory_order_acquire); }
  const std::string& label() const { return label_; }
  CommandBufferUse use() const { return use_; }

  // Throws DeviceError once it is committed.
  void check_encoding() const;
  // Refuses a second commit of a kOnce buffer, a commit in flight and one after a failure, with
  // DeviceError. Whoever has marked it has it to himself until it is committed, or taken back as if
  // nothing had been.
  void mark_committed();
  void take_back();
  void mark_ended(bool completed);

 private:
  const CommandBufferUse use_;
  const std::string label_;
  std::atomic<CommandBufferState> state_{CommandBufferState::kEncoding};
  CommandBufferState before_commit_ = CommandBufferState::kEncoding;
};

}  // namespace krserve
