// The CPU device behind the face of one with its own memory: what cannot be mapped or stored has to
// go through staging memory and the copy threads.
#pragma once

#include <memory>

#include "device/cpu/cpu_device.h"

namespace krserve::test {

class DiscreteCpu final : public Device {
 public:
  explicit DiscreteCpu(uint32_t threads)
      : cpu_(make_cpu_device({.threads = threads, .simd_level = {}, .spin_us = 0})) {
    info_ = cpu_->info();
    info_.unified_memory = false;
  }
  const DeviceInfo& info() const override { return info_; }
  std::unique_ptr<Heap> new_heap(uint64_t bytes, Storage storage) override {
    return cpu_->new_heap(bytes, storage);
  }
  std::unique_ptr<Buffer> new_buffer(uint64_t bytes, Storage storage) override {
    return cpu_->new_buffer(bytes, storage);
  }
  std::unique_ptr<Buffer> wrap_host_memory(const void*, uint64_t) override { return nullptr; }
  std::unique_ptr<Buffer> new_host_view(void* data, uint64_t bytes) override {
    return cpu_->new_host_view(data, bytes);
  }
  std::shared_ptr<Queue> new_queue(QueueKind kind) override { return cpu_->new_queue(kind); }
  std::shared_ptr<Timeline> new_timeline() override { return cpu_->new_timeline(); }
  DeviceMemory memory() const override { return cpu_->memory(); }
  uint64_t clock_ns() const override { return cpu_->clock_ns(); }

 private:
  std::shared_ptr<Device> cpu_;
  DeviceInfo info_;
};

}  // namespace krserve::test
