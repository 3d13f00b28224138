#include "device/metal/selftest/raw_queue.h"

#include <array>

#include "base/units.h"
#include "device/metal/metal_context.h"

namespace krserve {
namespace {

constexpr metal::NSUInteger kBytes = 4096;

template <class Ended>
void note_end(MetalRawRun& run, const Ended& ended) {
  run.handler_ns = now_ns();
  run.start_ns = host_ns_of(ended.gpu_start_time());
  run.end_ns = host_ns_of(ended.gpu_end_time());
  run.ended.set_value();
}

class RawQueue3 final : public MetalRawQueue {
 public:
  explicit RawQueue3(metal::MTLDevice& device)
      : queue_(device.new_command_queue(kDepth + 1)),
        buffer_(device.new_buffer(kBytes, metal::MTLResourceOptions::kStorageModeShared)) {}

  bool is_made() const { return queue_ && buffer_; }

  std::shared_ptr<MetalRawRun> commit(MetalRawEvent wait, MetalRawEvent signal) override {
    auto run = std::make_shared<MetalRawRun>();
    metal::MTLCommandBuffer* const commands = queue_->command_buffer();
    if (wait.event) commands->encode_wait(wait.event, wait.value);
    metal::MTLBlitCommandEncoder* const encoder = commands->blit_encoder();
    encoder->fill(buffer_.get(), {0, kBytes}, 1);
    encoder->end_encoding();
    if (signal.event) commands->encode_signal(signal.event, signal.value);
    commands->add_completed_handler(
        [run](metal::MTLCommandBuffer* ended) { note_end(*run, *ended); });
    run->commit_ns = now_ns();
    commands->commit();
    run->commit_end_ns = now_ns();
    return run;
  }

 private:
  metal::Owned<metal::MTLCommandQueue> queue_;
  metal::Owned<metal::MTLBuffer> buffer_;
};

class RawQueue4 final : public MetalRawQueue {
 public:
  explicit RawQueue4(metal::MTLDevice& device)
      : queue_(device.new_command_queue4()),
        buffer_(device.new_buffer(kBytes, metal::MTLResourceOptions::kStorageModeShared)) {
    const auto descriptor = metal::make_object<metal::MTLResidencySetDescriptor>();
    metal::NSError* error = nullptr;
    residents_ =
        metal::Owned<metal::MTLResidencySet>(device.new_residency_set(descriptor.get(), &error));
    if (!is_made()) return;
    residents_->add(buffer_.get());
    residents_->commit();
    residents_->request_residency();
    queue_->add_residency_set(residents_.get());
    for (Slot& slot : slots_) {
      slot.allocator = metal::Owned<metal::MTL4CommandAllocator>(device.new_command_allocator());
      slot.commands = metal::Owned<metal::MTL4CommandBuffer>(device.new_command_buffer4());
    }
  }

  bool is_made() const { return queue_ && buffer_ && residents_; }

  std::shared_ptr<MetalRawRun> commit(MetalRawEvent wait, MetalRawEvent signal) override {
    using metal::MTLStages;
    auto run = std::make_shared<MetalRawRun>();
    const Slot& slot = slots_[next_++ % slots_.size()];
    slot.allocator->reset();
    slot.commands->begin(slot.allocator.get());
    metal::MTL4ComputeCommandEncoder* const encoder = slot.commands->compute_encoder();
    encoder->queue_barrier(MTLStages::kBlit, MTLStages::kBlit,
                           metal::MTL4VisibilityOptions::kDevice);
    encoder->fill(buffer_.get(), {0, kBytes}, 1);
    encoder->end_encoding();
    slot.commands->end();
    const auto options = metal::make_object<metal::MTL4CommitOptions>();
    options->add_feedback_handler(
        [run](metal::MTL4CommitFeedback* ended) { note_end(*run, *ended); });
    const metal::MTL4CommandBuffer* const commands = slot.commands.get();
    run->commit_ns = now_ns();
    if (wait.event) queue_->wait(wait.event, wait.value);
    queue_->commit(&commands, 1, options.get());
    if (signal.event) queue_->signal(signal.event, signal.value);
    run->commit_end_ns = now_ns();
    return run;
  }

 private:
  struct Slot {
    metal::Owned<metal::MTL4CommandAllocator> allocator;
    metal::Owned<metal::MTL4CommandBuffer> commands;
  };

  metal::Owned<metal::MTL4CommandQueue> queue_;
  metal::Owned<metal::MTLBuffer> buffer_;
  metal::Owned<metal::MTLResidencySet> residents_;
  std::array<Slot, kDepth> slots_;
  size_t next_ = 0;
};

template <class Q>
std::unique_ptr<MetalRawQueue> make(metal::MTLDevice& device) {
  auto queue = std::make_unique<Q>(device);
  return queue->is_made() ? std::move(queue) : nullptr;
}

}  // namespace

std::unique_ptr<MetalRawQueue> make_metal_raw_queue(metal::MTLDevice& device, bool metal4) {
  return metal4 ? make<RawQueue4>(device) : make<RawQueue3>(device);
}

}  // namespace krserve
