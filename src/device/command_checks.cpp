#include "device/command_checks.h"

namespace krserve {

void check_dispatch(ops::Op op, uint32_t args_bytes, size_t buffers) {
  if (op < ops::Op::kOpCount && args_bytes <= ops::kMaxArgsBytes && buffers <= ops::kMaxBuffers) {
    return;
  }
  throw_error<DeviceError>(
      "command_buffer.dispatch", "{}: {} bytes of arguments (most {}), {} buffers (most {})",
      ops::op_name(op), args_bytes, ops::kMaxArgsBytes, buffers, ops::kMaxBuffers);
}

void check_range(const char* where, const std::string& label, const BufferView& view) {
  const uint64_t size = view.buffer ? view.buffer->size_bytes() : 0;
  if (view.offset <= size && view.bytes <= size - view.offset) return;
  throw_error<DeviceError>(where, "'{}': bytes {}..{} of a buffer of {}", label, view.offset,
                           view.offset + view.bytes, size);
}

}  // namespace krserve
