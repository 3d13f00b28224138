#include "device/metal/metal_command_buffer.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "device/command_checks.h"
#include "device/metal/metal_memory.h"

namespace krserve {
namespace {

// What a command needs to know of a view: addresses for the GPU and for the host, 0 or null where
// there is none.
MetalRange range_of(const MetalBuffer& buffer, uint64_t offset) {
  MetalRange range;
  if (buffer.gpu_address() != 0) range.gpu = buffer.gpu_address() + offset;
  if (buffer.contents()) range.host = buffer.contents() + offset;
  return range;
}

}  // namespace

void MetalCommandBuffer::dispatch(ops::Op op, const void* args, uint32_t args_bytes,
                                  std::span<const BufferView> buffers) {
  constexpr const char* kWhere = "command_buffer.dispatch";
  check_dispatch(op, args_bytes, buffers.size());
  state_.check_encoding();
  kernels::GpuDispatch dispatch;
  dispatch.op = op;
  std::memcpy(dispatch.args, args, args_bytes);
  for (size_t i = 0; i < buffers.size(); ++i) {
    const MetalBuffer* buffer = checked_buffer<MetalBuffer>(kWhere, label(), buffers[i]);
    if (!buffer) continue;
    const MetalRange range = range_of(*buffer, buffers[i].offset);
    if (range.gpu == 0) {
      throw_error<DeviceError>(kWhere,
                               "'{}': buffer {} of {} is pageable host memory; copy it first",
                               label(), i, ops::op_name(op));
    }
    dispatch.buffers[i] = reinterpret_cast<void*>(range.gpu);
    dispatch.bytes[i] = buffers[i].bytes;
  }
  list_.add_dispatch(dispatch);
}

void MetalCommandBuffer::copy(const BufferView& dst, const BufferView& src) {
  constexpr const char* kWhere = "command_buffer.copy";
  const uint64_t bytes = std::min(dst.bytes, src.bytes);
  const MetalBuffer* to = checked_buffer<MetalBuffer>(kWhere, label(), dst.sub(0, bytes));
  const MetalBuffer* from = checked_buffer<MetalBuffer>(kWhere, label(), src.sub(0, bytes));
  state_.check_encoding();
  if (bytes == 0) return;
  MetalCommand command;
  command.kind = MetalCommand::Kind::kCopy;
  command.dst = range_of(*to, dst.offset);
  command.src = range_of(*from, src.offset);
  command.bytes = bytes;
  if (kind_ == QueueKind::kCompute && (command.dst.gpu == 0 || command.src.gpu == 0)) {
    throw_error<DeviceError>(kWhere, "'{}': pageable host memory is copied on a copy queue",
                             label());
  }
  list_.add(command);
}

void MetalCommandBuffer::fill(const BufferView& dst, uint8_t value) {
  constexpr const char* kWhere = "command_buffer.fill";
  const MetalBuffer* to = checked_buffer<MetalBuffer>(kWhere, label(), dst);
  state_.check_encoding();
  if (dst.bytes == 0) return;
  MetalCommand command;
  command.kind = MetalCommand::Kind::kFill;
  command.dst = range_of(*to, dst.offset);
  command.bytes = dst.bytes;
  command.fill_value = value;
  if (command.dst.gpu == 0) {
    throw_error<DeviceError>(kWhere, "'{}': pageable host memory; fill it on the host", label());
  }
  list_.add(command);
}

void MetalCommandBuffer::barrier() {
  state_.check_encoding();
  list_.add_barrier();
}

void MetalCommandBuffer::mark_ended(bool completed, Timestamps timestamps) {
  timestamps_ = timestamps;
  state_.mark_ended(completed);
}

void MetalCommandBuffer::prepare(const std::shared_ptr<MetalPlanner>& planner) {
  if (!program_) {
    program_ = planner->plan(list_, label());
    planner_ = planner;
    list_ = {};
  } else if (planner_.lock() != planner) {
    throw_error<DeviceError>("queue.commit", "'{}' ran on another queue before; encode it afresh",
                             label());
  }
}

std::string MetalCommandBuffer::describe() const {
  return fmt::format("'{}' ({})", label(), program_ ? program_->summary() : "not prepared");
}

}  // namespace krserve
