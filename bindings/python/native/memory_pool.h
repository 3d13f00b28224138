// MetalMemoryPool: the runtime's memory pool as a Python object.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>

#include "native/buffer.h"
#include "native/settings.h"
#include "runtime/memory_pool/memory_pool.h"

namespace krserve::python {

class Pool {
 public:
  Pool(std::shared_ptr<Device> device, const PoolSettings& settings, uint64_t limit_mb);

  ArrayBuffer allocate(uint64_t bytes, uint64_t alignment);
  ArrayBuffer empty(const std::vector<int64_t>& shape, const Dtype& dtype);
  void free(ArrayBuffer& buffer) const;

  const std::shared_ptr<Device>& device() const { return device_; }
  const PoolSettings& settings() const { return settings_; }
  runtime::MemoryPool& runtime() const { return *pool_; }

 private:
  std::shared_ptr<Device> device_;
  PoolSettings settings_;
  std::shared_ptr<runtime::MemoryPool> pool_;
};

void bind_memory_pool(nanobind::module_& module);

}  // namespace krserve::python
