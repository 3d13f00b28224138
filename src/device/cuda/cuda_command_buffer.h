// Commands as the CUDA device keeps them: encoded once, then made into a program for the stream.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "device/command_state.h"
#include "device/cuda/cuda_context.h"
#include "device/cuda/cuda_program.h"
#include "device/queue.h"

namespace krserve {

class CudaCommandBuffer final : public CommandBuffer {
 public:
  CudaCommandBuffer(std::shared_ptr<CudaContext> context, CommandBufferUse use,
                    std::string_view label)
      : context_(std::move(context)), state_(use, label) {}

  using CommandBuffer::dispatch;
  void dispatch(ops::Op op, const void* args, uint32_t args_bytes,
                std::span<const BufferView> buffers) override;
  void copy(const BufferView& dst, const BufferView& src) override;
  void fill(const BufferView& dst, uint8_t value) override;
  void barrier() override;
  CommandBufferState state() const override;
  Timestamps timestamps() const override { return timestamps_; }

  // The queue's side.

  const CudaContext& context() const { return *context_; }
  // As CommandState::mark_committed; the last execution may just be over.
  void mark_committed();
  void take_back() { state_.take_back(); }
  void mark_ended(bool completed, Timestamps timestamps);
  // The program, which is made on the first call. Throws DeviceError, OutOfMemoryError.
  void prepare(const std::shared_ptr<CudaPlanner>& planner);
  // Puts its work on the stream. On failure `error` says which part of it.
  cudaError_t issue(cudaStream_t stream, std::string& error) const;
  // "'step' (212 launches, 3 copies and fills: rms_norm, matmul, ...)", for errors.
  std::string describe() const;

 private:
  const std::string& label() const { return state_.label(); }

  const std::shared_ptr<CudaContext> context_;
  CommandState state_;
  CudaCommandList list_;  // until it is made into the program
  std::unique_ptr<CudaProgram> program_;
  std::weak_ptr<CudaPlanner> planner_;  // that made the program
  Timestamps timestamps_;
};

}  // namespace krserve
