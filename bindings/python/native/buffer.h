// Device memory as a Python object: buffer protocol and DLPack, so that arrays share it.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <vector>

#include "device/device.h"
#include "native/dtype.h"
#include "runtime/memory_pool/allocator.h"

namespace krserve::python {

// Host memory of numpy, torch, mlx or anything with the buffer protocol; nothing is copied.
using HostArray = nanobind::ndarray<nanobind::ro, nanobind::c_contig, nanobind::device::cpu>;
using WritableHostArray = nanobind::ndarray<nanobind::c_contig, nanobind::device::cpu>;

// What a buffer, every array over it and all device work on it keep alive together. The last
// reference goes while Python's lock is held.
struct Memory {
  std::shared_ptr<Device> device;
  std::shared_ptr<runtime::Allocator> owner;  // null for host memory of somebody else
  runtime::Allocation allocation;
  std::unique_ptr<Buffer> wrapped;  // over `source`
  HostArray source;

  bool read_only() const { return wrapped != nullptr; }
};
using MemoryPtr = std::shared_ptr<Memory>;

// A typed view of memory.
class ArrayBuffer {
 public:
  ArrayBuffer(MemoryPtr memory, const BufferView& view, const Dtype& dtype,
              std::vector<int64_t> shape);

  // All throw ConfigError once the buffer was freed.
  const MemoryPtr& memory() const;
  const BufferView& view() const;
  bool is_host_accessible() const;
  // Both throw BufferError: where the host cannot reach it, and where the device gives none.
  std::byte* host_address() const;
  std::byte* address() const;

  const Dtype& dtype() const { return *dtype_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  uint64_t bytes() const { return view_.bytes; }
  bool is_freed() const { return memory_ == nullptr; }
  // Memory goes back to its pool now, or with the last array over it and the last work on it.
  void free();

  ArrayBuffer with(const Dtype& dtype, const std::vector<int64_t>& shape, uint64_t offset) const;

 private:
  MemoryPtr memory_;
  BufferView view_;
  const Dtype* dtype_;
  std::vector<int64_t> shape_;
};

// Elements times their size; throws ConfigError for a negative extent or more than 2^62 bytes.
uint64_t bytes_of(const std::vector<int64_t>& shape, const Dtype& dtype);

void bind_buffer(nanobind::module_& module);

}  // namespace krserve::python
