// What every back end refuses while commands are encoded.
#pragma once

#include <cstdint>
#include <string>
#include <typeinfo>

#include "base/error.h"
#include "device/buffer.h"
#include "kernels/ops/ops.h"

namespace krserve {

// All throw DeviceError.

void check_dispatch(ops::Op op, uint32_t args_bytes, size_t buffers);
// A range past the end would corrupt somebody else's memory, and later.
void check_range(const char* where, const std::string& label, const BufferView& view);

// The back end's own buffer behind a view that lies within it; null for an empty view.
template <class Own>
const Own* checked_buffer(const char* where, const std::string& label, const BufferView& view) {
  check_range(where, label, view);
  if (!view.buffer) return nullptr;
  const Buffer& buffer = *view.buffer;
  if (typeid(buffer) == typeid(Own)) return static_cast<const Own*>(&buffer);
  throw_error<DeviceError>(where, "'{}': a buffer of another device", label);
}

}  // namespace krserve
