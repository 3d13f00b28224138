// Commands as the CUDA device keeps them: encoded once, then made into a program for the stream.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "device/cuda/cuda_context.h"
#include "device/cuda/cuda_program.h"
#include "device/queue.h"

namespace krserve {

class CudaCommandBuffer final : public CommandBuffer {
 public:
  CudaCommandBuffer(std::shared_ptr<CudaContext> context, CommandBufferUse use,
                    std::string_view label)
      : context_(std::move(context)), use_(use), label_(label) {}

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
  // Refuses a second commit of a kOnce buffer, a commit in flight and one after a failure. Whoever
  // has marked it has it to himself until it is committed, or taken back as if nothing had been.
  void mark_committed();
  void take_back();
  void mark_ended(bool completed, Timestamps timestamps);
  // The program, which is made on the first call. Throws DeviceError, OutOfMemoryError.
  void prepare(const std::shared_ptr<CudaPlanner>& planner);
  // Puts its work on the stream. On failure `error` says which part of it.
  cudaError_t issue(cudaStream_t stream, std::string& error) const;
  // "'step' (212 launches, 3 copies and fills: rms_norm, matmul, ...)", for errors.
  std::string describe() const;

 private:
  void check_encoding() const;

  const std::shared_ptr<CudaContext> context_;
  const CommandBufferUse use_;
  const std::string label_;
  CudaCommandList list_;  // until it is made into the program
  std::unique_ptr<CudaProgram> program_;
  std::shared_ptr<CudaPlanner> planner_;
  std::atomic<CommandBufferState> state_{CommandBufferState::kEncoding};
  CommandBufferState before_commit_ = CommandBufferState::kEncoding;
  Timestamps timestamps_;
};

}  // namespace krserve
