#include "device/cpu/command_list.h"

#include <algorithm>
#include <cstring>

#include "base/units.h"
#include "device/command_checks.h"

namespace krserve {
namespace {

constexpr uint64_t kCopyBlock = 256 * kKiB;

}  // namespace

CpuCommand& CpuCommandBuffer::append(CpuCommand::Kind kind) {
  state_.check_encoding();
  CpuCommand& command = commands_.emplace_back();
  command.kind = kind;
  return command;
}

void CpuCommandBuffer::dispatch(ops::Op op, const void* args, uint32_t args_bytes,
                                std::span<const BufferView> buffers) {
  check_dispatch(op, args_bytes, buffers.size());
  CpuCommand& command = append(CpuCommand::Kind::kDispatch);
  command.op = op;
  std::memcpy(command.args, args, args_bytes);
  for (size_t i = 0; i < buffers.size(); ++i) command.buffers[i] = buffers[i].contents();
}

void CpuCommandBuffer::copy(const BufferView& dst, const BufferView& src) {
  const uint64_t bytes = std::min(dst.bytes, src.bytes);
  check_range("command_buffer.copy", label(), dst.sub(0, bytes));
  check_range("command_buffer.copy", label(), src.sub(0, bytes));
  CpuCommand& command = append(CpuCommand::Kind::kCopy);
  command.dst = dst.contents();
  command.src = src.contents();
  command.bytes = bytes;
}

void CpuCommandBuffer::fill(const BufferView& dst, uint8_t value) {
  check_range("command_buffer.fill", label(), dst);
  CpuCommand& command = append(CpuCommand::Kind::kFill);
  command.dst = dst.contents();
  command.bytes = dst.bytes;
  command.fill_value = value;
}

void CpuCommandBuffer::barrier() {
  append(CpuCommand::Kind::kBarrier);
}

void CpuCommandBuffer::mark_ended(bool completed, Timestamps timestamps) {
  timestamps_ = timestamps;
  state_.mark_ended(completed);
}

TaskCounter* CpuCommandBuffer::reset_counters() {
  if (!counters_) {
    counters_ = std::make_unique<TaskCounter[]>(commands_.size());
  } else {
    for (size_t i = 0; i < commands_.size(); ++i) {
      counters_[i].next.store(0, std::memory_order_relaxed);
      counters_[i].done.store(0, std::memory_order_relaxed);
    }
  }
  return counters_.get();
}

std::string CpuCommandBuffer::describe() const {
  std::string kernels;
  ops::Op last = ops::Op::kOpCount;
  uint32_t named = 0;
  for (const CpuCommand& command : commands_) {
    if (command.kind != CpuCommand::Kind::kDispatch || command.op == last || named >= 8) continue;
    last = command.op;
    kernels += (named++ ? ", " : "") + std::string(ops::op_name(command.op));
  }
  return fmt::format("'{}' ({} commands: {})", label(), commands_.size(), kernels);
}

uint32_t task_count(const CpuCommand& command, const kernels::CpuKernelTable& table) {
  switch (command.kind) {
    case CpuCommand::Kind::kBarrier:
      return 0;
    case CpuCommand::Kind::kDispatch: {
      const auto& kernel = table.kernels[static_cast<uint32_t>(command.op)];
      return kernel.task_count({command.args, command.buffers});
    }
    case CpuCommand::Kind::kCopy:
    case CpuCommand::Kind::kFill:
      return static_cast<uint32_t>(ceil_div(command.bytes, kCopyBlock));
  }
  return 0;
}

void run_tasks(const CpuCommand& command, const kernels::CpuKernelTable& table, uint32_t begin,
               uint32_t end, kernels::Scratch& scratch, uint64_t serial) {
  if (command.kind == CpuCommand::Kind::kDispatch) {
    const auto& kernel = table.kernels[static_cast<uint32_t>(command.op)];
    kernel.run({command.args, command.buffers, serial}, begin, end, scratch);
    return;
  }
  const uint64_t from = begin * kCopyBlock;
  const uint64_t bytes = std::min(command.bytes, end * kCopyBlock) - from;
  if (command.kind == CpuCommand::Kind::kCopy) {
    std::memcpy(command.dst + from, command.src + from, bytes);
  } else {
    std::memset(command.dst + from, command.fill_value, bytes);
  }
}

void run_inline(const CpuCommandBuffer& commands, const kernels::CpuKernelTable& table,
                kernels::Scratch& scratch) {
  for (const CpuCommand& command : commands.commands()) {
    const uint32_t tasks = task_count(command, table);
    if (tasks > 0) run_tasks(command, table, 0, tasks, scratch);
  }
}

}  // namespace krserve
