// Commands as the CPU keeps them: encoded once, run any number of times.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "device/command_state.h"
#include "device/queue.h"
#include "kernels/cpu_kernels.h"

namespace krserve {

struct CpuCommand {
  enum class Kind : uint8_t { kDispatch, kCopy, kFill, kBarrier };

  Kind kind = Kind::kBarrier;
  uint8_t fill_value = 0;
  ops::Op op = ops::Op::kOpCount;
  alignas(16) std::byte args[ops::kMaxArgsBytes] = {};
  void* buffers[ops::kMaxBuffers] = {};
  std::byte* dst = nullptr;
  const std::byte* src = nullptr;
  uint64_t bytes = 0;
};

// Progress of a command in one execution; one cache line each, as all workers of a team write them.
struct alignas(64) TaskCounter {
  std::atomic<uint32_t> next{0};  // the next task to take
  // Tasks ended, for all commands up to the next barrier; kept at the first of them.
  std::atomic<uint32_t> done{0};
};

class CpuCommandBuffer final : public CommandBuffer {
 public:
  CpuCommandBuffer(CommandBufferUse use, std::string_view label) : state_(use, label) {}

  using CommandBuffer::dispatch;
  void dispatch(ops::Op op, const void* args, uint32_t args_bytes,
                std::span<const BufferView> buffers) override;
  void copy(const BufferView& dst, const BufferView& src) override;
  void fill(const BufferView& dst, uint8_t value) override;
  void barrier() override;
  CommandBufferState state() const override { return state_.get(); }
  Timestamps timestamps() const override { return timestamps_; }

  // The queue's side.

  CommandState& lifecycle() { return state_; }
  void mark_ended(bool completed, Timestamps timestamps);
  const std::vector<CpuCommand>& commands() const { return commands_; }
  // Counters for one execution, all zero.
  TaskCounter* reset_counters();
  const std::string& label() const { return state_.label(); }
  // "decode: embed_rows, rms_norm, ... (212 commands)", for errors.
  std::string describe() const;

 private:
  CpuCommand& append(CpuCommand::Kind kind);

  CommandState state_;
  std::vector<CpuCommand> commands_;
  std::unique_ptr<TaskCounter[]> counters_;
  Timestamps timestamps_;
};

// Tasks of a command: those of the kernel, or blocks of a copy or fill.
uint32_t task_count(const CpuCommand& command, const kernels::CpuKernelTable& table);
void run_tasks(const CpuCommand& command, const kernels::CpuKernelTable& table, uint32_t begin,
               uint32_t end, kernels::Scratch& scratch, uint64_t serial = 0);
// All commands in order on the calling thread.
void run_inline(const CpuCommandBuffer& commands, const kernels::CpuKernelTable& table,
                kernels::Scratch& scratch);

}  // namespace krserve
