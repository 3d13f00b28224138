#include "device/cuda/cuda_command_buffer.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "device/command_checks.h"
#include "device/cuda/cuda_memory.h"

namespace krserve {
namespace {

cudaMemcpyKind copy_kind(CudaMemoryKind dst, CudaMemoryKind src) {
  const bool to_device = dst == CudaMemoryKind::kDevice;
  if (src == CudaMemoryKind::kDevice) {
    return to_device ? cudaMemcpyDeviceToDevice : cudaMemcpyDeviceToHost;
  }
  return to_device ? cudaMemcpyHostToDevice : cudaMemcpyHostToHost;
}

}  // namespace

void CudaCommandBuffer::dispatch(ops::Op op, const void* args, uint32_t args_bytes,
                                 std::span<const BufferView> buffers) {
  constexpr const char* kWhere = "command_buffer.dispatch";
  check_dispatch(op, args_bytes, buffers.size());
  state_.check_encoding();
  kernels::GpuDispatch dispatch;
  dispatch.op = op;
  std::memcpy(dispatch.args, args, args_bytes);
  for (size_t i = 0; i < buffers.size(); ++i) {
    const CudaBuffer* buffer = checked_buffer<CudaBuffer>(kWhere, label(), buffers[i]);
    if (!buffer) continue;
    if (buffer->kind() == CudaMemoryKind::kPageable) {
      throw_error<DeviceError>(kWhere,
                               "'{}': buffer {} of {} is pageable host memory; copy it first",
                               label(), i, ops::op_name(op));
    }
    dispatch.buffers[i] = buffer->address() + buffers[i].offset;
    dispatch.bytes[i] = buffers[i].bytes;
  }
  list_.add_dispatch(dispatch);
}

void CudaCommandBuffer::copy(const BufferView& dst, const BufferView& src) {
  constexpr const char* kWhere = "command_buffer.copy";
  const uint64_t bytes = std::min(dst.bytes, src.bytes);
  const CudaBuffer* to = checked_buffer<CudaBuffer>(kWhere, label(), dst.sub(0, bytes));
  const CudaBuffer* from = checked_buffer<CudaBuffer>(kWhere, label(), src.sub(0, bytes));
  state_.check_encoding();
  if (bytes == 0) return;
  CudaCommand command;
  command.kind = CudaCommand::Kind::kCopy;
  command.dst = to->address() + dst.offset;
  command.src = from->address() + src.offset;
  command.bytes = bytes;
  command.copy_kind = copy_kind(to->kind(), from->kind());
  const bool pageable =
      to->kind() == CudaMemoryKind::kPageable || from->kind() == CudaMemoryKind::kPageable;
  command.recordable = !pageable && command.copy_kind != cudaMemcpyHostToHost;
  list_.add(command);
}

void CudaCommandBuffer::fill(const BufferView& dst, uint8_t value) {
  constexpr const char* kWhere = "command_buffer.fill";
  const CudaBuffer* to = checked_buffer<CudaBuffer>(kWhere, label(), dst);
  state_.check_encoding();
  if (dst.bytes == 0) return;
  if (to->kind() == CudaMemoryKind::kPageable) {
    throw_error<DeviceError>(kWhere, "'{}': pageable host memory; fill it on the host", label());
  }
  CudaCommand command;
  command.kind = CudaCommand::Kind::kFill;
  command.dst = to->address() + dst.offset;
  command.bytes = dst.bytes;
  command.fill_value = value;
  list_.add(command);
}

void CudaCommandBuffer::barrier() {
  state_.check_encoding();
  list_.add_barrier();
}

CommandBufferState CudaCommandBuffer::state() const {
  if (state_.get() == CommandBufferState::kCommitted) context_->try_poll();
  return state_.get();
}

void CudaCommandBuffer::mark_committed() {
  static_cast<void>(state());
  state_.mark_committed();
}

void CudaCommandBuffer::mark_ended(bool completed, Timestamps timestamps) {
  timestamps_ = timestamps;
  state_.mark_ended(completed);
}

void CudaCommandBuffer::prepare(const std::shared_ptr<CudaPlanner>& planner) {
  if (!program_) {
    program_ = planner->plan(list_, state_.use() == CommandBufferUse::kRecorded, label());
    planner_ = planner;
    list_ = {};
  } else if (planner_.lock() != planner) {
    throw_error<DeviceError>("queue.commit", "'{}' ran on another queue before; encode it afresh",
                             label());
  }
}

cudaError_t CudaCommandBuffer::issue(cudaStream_t stream, std::string& error) const {
  std::string part;
  const cudaError_t code = program_->issue(stream, part);
  if (code != cudaSuccess) {
    error = fmt::format("[cuda_queue.run] '{}', {}: {}", label(), part, cuda_error_text(code));
  }
  return code;
}

std::string CudaCommandBuffer::describe() const {
  return fmt::format("'{}' ({})", label(), program_ ? program_->summary() : "not prepared");
}

}  // namespace krserve
