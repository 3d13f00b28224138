#include "device/cuda/cuda_command_buffer.h"

#include <algorithm>
#include <cstring>
#include <typeinfo>

#include "base/error.h"
#include "device/cuda/cuda_memory.h"

namespace krserve {
namespace {

// The buffer behind a view of this device; null for an empty view.
const CudaBuffer* cuda(const char* where, const std::string& label, const BufferView& view) {
  if (!view.buffer) return nullptr;
  const Buffer& buffer = *view.buffer;
  if (typeid(buffer) == typeid(CudaBuffer)) return static_cast<const CudaBuffer*>(&buffer);
  throw_error<DeviceError>(where, "'{}': a buffer of another device", label);
}

// A range past the end would corrupt somebody else's memory, or lose the device, and later.
const CudaBuffer* checked(const char* where, const std::string& label, const BufferView& view) {
  const CudaBuffer* buffer = cuda(where, label, view);
  const uint64_t size = buffer ? buffer->size_bytes() : 0;
  if (view.offset <= size && view.bytes <= size - view.offset) return buffer;
  throw_error<DeviceError>(where, "'{}': bytes {}..{} of a buffer of {}", label, view.offset,
                           view.offset + view.bytes, size);
}

cudaMemcpyKind copy_kind(CudaMemoryKind dst, CudaMemoryKind src) {
  const bool to_device = dst == CudaMemoryKind::kDevice;
  if (src == CudaMemoryKind::kDevice) {
    return to_device ? cudaMemcpyDeviceToDevice : cudaMemcpyDeviceToHost;
  }
  return to_device ? cudaMemcpyHostToDevice : cudaMemcpyHostToHost;
}

}  // namespace

void CudaCommandBuffer::check_encoding() const {
  if (state_.load(std::memory_order_acquire) == CommandBufferState::kEncoding) return;
  throw_error<DeviceError>("command_buffer.encode", "'{}' was committed already; begin a new one",
                           label_);
}

void CudaCommandBuffer::dispatch(ops::Op op, const void* args, uint32_t args_bytes,
                                 std::span<const BufferView> buffers) {
  constexpr const char* kWhere = "command_buffer.dispatch";
  if (op >= ops::Op::kOpCount || args_bytes > ops::kMaxArgsBytes ||
      buffers.size() > ops::kMaxBuffers) {
    throw_error<DeviceError>(kWhere, "{}: {} bytes of arguments (most {}), {} buffers (most {})",
                             ops::op_name(op), args_bytes, ops::kMaxArgsBytes, buffers.size(),
                             ops::kMaxBuffers);
  }
  check_encoding();
  kernels::GpuDispatch dispatch;
  dispatch.op = op;
  std::memcpy(dispatch.args, args, args_bytes);
  for (size_t i = 0; i < buffers.size(); ++i) {
    const CudaBuffer* buffer = checked(kWhere, label_, buffers[i]);
    if (!buffer) continue;
    if (buffer->kind() == CudaMemoryKind::kPageable) {
      throw_error<DeviceError>(kWhere,
                               "'{}': buffer {} of {} is pageable host memory; copy it first",
                               label_, i, ops::op_name(op));
    }
    dispatch.buffers[i] = buffer->address() + buffers[i].offset;
    dispatch.bytes[i] = buffers[i].bytes;
  }
  list_.add_dispatch(dispatch);
}

void CudaCommandBuffer::copy(const BufferView& dst, const BufferView& src) {
  constexpr const char* kWhere = "command_buffer.copy";
  const uint64_t bytes = std::min(dst.bytes, src.bytes);
  const CudaBuffer* to = checked(kWhere, label_, dst.sub(0, bytes));
  const CudaBuffer* from = checked(kWhere, label_, src.sub(0, bytes));
  check_encoding();
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
  const CudaBuffer* to = checked(kWhere, label_, dst);
  check_encoding();
  if (dst.bytes == 0) return;
  if (to->kind() == CudaMemoryKind::kPageable) {
    throw_error<DeviceError>(kWhere, "'{}': pageable host memory; fill it on the host", label_);
  }
  CudaCommand command;
  command.kind = CudaCommand::Kind::kFill;
  command.dst = to->address() + dst.offset;
  command.bytes = dst.bytes;
  command.fill_value = value;
  list_.add(command);
}

void CudaCommandBuffer::barrier() {
  check_encoding();
  list_.add_barrier();
}

CommandBufferState CudaCommandBuffer::state() const {
  const CommandBufferState state = state_.load(std::memory_order_acquire);
  if (state != CommandBufferState::kCommitted) return state;
  context_->try_poll();
  return state_.load(std::memory_order_acquire);
}

void CudaCommandBuffer::mark_committed() {
  CommandBufferState state = CommandBufferState::kEncoding;
  if (state_.compare_exchange_strong(state, CommandBufferState::kCommitted)) {
    before_commit_ = CommandBufferState::kEncoding;
    return;
  }
  if (use_ == CommandBufferUse::kRecorded) {
    context_->try_poll();  // its last execution may be over
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

void CudaCommandBuffer::take_back() {
  state_.store(before_commit_, std::memory_order_release);
}

void CudaCommandBuffer::mark_ended(bool completed, Timestamps timestamps) {
  timestamps_ = timestamps;
  state_.store(completed ? CommandBufferState::kCompleted : CommandBufferState::kFailed,
               std::memory_order_release);
}

void CudaCommandBuffer::prepare(const std::shared_ptr<CudaPlanner>& planner) {
  if (!program_) {
    program_ = planner->plan(list_, use_ == CommandBufferUse::kRecorded, label_);
    planner_ = planner;
    list_ = {};
  } else if (planner_.lock() != planner) {
    throw_error<DeviceError>("queue.commit", "'{}' ran on another queue before; encode it afresh",
                             label_);
  }
}

cudaError_t CudaCommandBuffer::issue(cudaStream_t stream, std::string& error) const {
  std::string part;
  const cudaError_t code = program_->issue(stream, part);
  if (code != cudaSuccess) {
    error = fmt::format("[cuda_queue.run] '{}', {}: {}", label_, part, cuda_error_text(code));
  }
  return code;
}

std::string CudaCommandBuffer::describe() const {
  return fmt::format("'{}' ({})", label_, program_ ? program_->summary() : "not prepared");
}

}  // namespace krserve
