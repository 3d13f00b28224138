// The CPU device with one wrong result: some bytes of one buffer of one command.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "device/cpu/cpu_device.h"

namespace krserve::test {

// After the `command`-th dispatch, copy or fill of a compute command buffer, the first bytes of its
// `binding`-th buffer (of a copy: to, from) become 0x55.
struct Fault {
  size_t command = 0;
  size_t binding = 0;
  uint64_t bytes = 8;
};

class WrongCommands final : public CommandBuffer {
 public:
  WrongCommands(std::shared_ptr<CommandBuffer> inner, const Fault& fault)
      : inner_(std::move(inner)), fault_(fault) {}

  void dispatch(ops::Op op, const void* args, uint32_t args_bytes,
                std::span<const BufferView> buffers) override {
    inner_->dispatch(op, args, args_bytes, buffers);
    corrupt({buffers.begin(), buffers.end()});
  }
  void copy(const BufferView& dst, const BufferView& src) override {
    inner_->copy(dst, src);
    corrupt({dst, src});
  }
  void fill(const BufferView& dst, uint8_t value) override {
    inner_->fill(dst, value);
    corrupt({dst});
  }
  void barrier() override { inner_->barrier(); }
  CommandBufferState state() const override { return inner_->state(); }
  Timestamps timestamps() const override { return inner_->timestamps(); }
  const std::shared_ptr<CommandBuffer>& inner() const { return inner_; }

 private:
  void corrupt(const std::vector<BufferView>& buffers) {
    if (commands_++ != fault_.command || fault_.binding >= buffers.size()) return;
    const BufferView& view = buffers[fault_.binding];
    inner_->barrier();
    inner_->fill(view.sub(0, std::min(fault_.bytes, view.bytes)), 0x55);
  }

  std::shared_ptr<CommandBuffer> inner_;
  const Fault fault_;
  size_t commands_ = 0;
};

class WrongQueue final : public Queue {
 public:
  WrongQueue(std::shared_ptr<Queue> inner, const Fault& fault)
      : inner_(std::move(inner)), fault_(fault) {}
  QueueKind kind() const override { return inner_->kind(); }
  std::shared_ptr<CommandBuffer> begin(CommandBufferUse use, std::string_view label) override {
    return std::make_shared<WrongCommands>(inner_->begin(use, label), fault_);
  }
  void commit(const std::shared_ptr<CommandBuffer>& commands, std::span<const TimelinePoint> waits,
              std::span<const TimelinePoint> signals) override {
    inner_->commit(static_cast<const WrongCommands&>(*commands).inner(), waits, signals);
  }
  bool wait_idle(std::chrono::nanoseconds timeout) override { return inner_->wait_idle(timeout); }

 private:
  std::shared_ptr<Queue> inner_;
  const Fault fault_;
};

class WrongDevice final : public Device {
 public:
  WrongDevice(std::shared_ptr<Device> inner, const Fault& fault)
      : inner_(std::move(inner)), fault_(fault) {}
  const DeviceInfo& info() const override { return inner_->info(); }
  std::unique_ptr<Heap> new_heap(uint64_t bytes, Storage storage) override {
    return inner_->new_heap(bytes, storage);
  }
  std::unique_ptr<Buffer> new_buffer(uint64_t bytes, Storage storage) override {
    return inner_->new_buffer(bytes, storage);
  }
  std::unique_ptr<Buffer> wrap_host_memory(const void* data, uint64_t bytes) override {
    return inner_->wrap_host_memory(data, bytes);
  }
  std::unique_ptr<Buffer> new_host_view(void* data, uint64_t bytes) override {
    return inner_->new_host_view(data, bytes);
  }
  std::shared_ptr<Queue> new_queue(QueueKind kind) override {
    auto queue = inner_->new_queue(kind);
    if (kind != QueueKind::kCompute) return queue;
    return std::make_shared<WrongQueue>(std::move(queue), fault_);
  }
  std::shared_ptr<Timeline> new_timeline() override { return inner_->new_timeline(); }
  DeviceMemory memory() const override { return inner_->memory(); }
  uint64_t clock_ns() const override { return inner_->clock_ns(); }

 private:
  std::shared_ptr<Device> inner_;
  const Fault fault_;
};

}  // namespace krserve::test
