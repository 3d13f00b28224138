// Commands as the Metal device keeps them: encoded once, then made into a program for the GPU, or
// carried out by a copy queue.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "device/command_state.h"
#include "device/metal/metal_context.h"
#include "device/metal/metal_program.h"
#include "device/queue.h"

namespace krserve {

class MetalCommandBuffer final : public CommandBuffer {
 public:
  MetalCommandBuffer(std::shared_ptr<MetalContext> context, QueueKind kind, CommandBufferUse use,
                     std::string_view label)
      : context_(std::move(context)), kind_(kind), state_(use, label) {}

  using CommandBuffer::dispatch;
  void dispatch(ops::Op op, const void* args, uint32_t args_bytes,
                std::span<const BufferView> buffers) override;
  void copy(const BufferView& dst, const BufferView& src) override;
  void fill(const BufferView& dst, uint8_t value) override;
  void barrier() override;
  CommandBufferState state() const override { return state_.get(); }
  Timestamps timestamps() const override { return timestamps_; }

  // The queue's side.

  const MetalContext& context() const { return *context_; }
  QueueKind kind() const { return kind_; }
  const std::string& label() const { return state_.label(); }
  CommandState& lifecycle() { return state_; }
  void mark_ended(bool completed, Timestamps timestamps);
  const MetalCommandList& list() const { return list_; }
  void add(const MetalCommand& command) { list_.add(command); }
  // Makes the program on the first call. Throws DeviceError, OutOfMemoryError.
  void prepare(const std::shared_ptr<MetalPlanner>& planner);
  const MetalProgram& program() const { return *program_; }
  // "'step' (212 launches: embed_rows, rms_norm, matmul, ...)", for errors.
  std::string describe() const;

 private:
  const std::shared_ptr<MetalContext> context_;
  const QueueKind kind_;
  CommandState state_;
  MetalCommandList list_;  // until it is made into the program
  std::unique_ptr<MetalProgram> program_;
  std::weak_ptr<MetalPlanner> planner_;  // that made the program
  Timestamps timestamps_;
};

}  // namespace krserve
