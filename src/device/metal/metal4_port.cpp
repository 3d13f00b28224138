// Metal 4: allocators, command buffers and argument tables that are used again, barriers that say
// everything.
#include "base/error.h"
#include "device/metal/metal_port.h"

namespace krserve {
namespace {

using metal::MTL4VisibilityOptions;
using metal::MTLStages;

// What a command buffer in flight has to itself.
struct Slot {
  metal::Owned<metal::MTL4CommandAllocator> allocator;
  metal::Owned<metal::MTL4CommandBuffer> buffer;
  metal::Owned<metal::MTL4ArgumentTable> table;
};

// Slots whose command buffers have ended; Metal's threads put them back.
class FreeSlots {
 public:
  std::unique_ptr<Slot> take() {
    const std::lock_guard lock(mutex_);
    if (slots_.empty()) return nullptr;
    std::unique_ptr<Slot> slot = std::move(slots_.back());
    slots_.pop_back();
    return slot;
  }
  void give(std::unique_ptr<Slot> slot) {
    const std::lock_guard lock(mutex_);
    slots_.push_back(std::move(slot));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Slot>> slots_;
};

class Metal4Port final : public MetalPort {
 public:
  explicit Metal4Port(std::shared_ptr<MetalContext> context)
      : context_(std::move(context)),
        queue_(context_->device->new_command_queue4()),
        event_(context_->device->new_shared_event()),
        free_(std::make_shared<FreeSlots>()) {
    if (!queue_ || !event_) {
      throw DeviceError("metal_device.new_queue", "Metal makes no command queue or shared event");
    }
    queue_->add_residency_set(context_->residency.set());
  }

  metal::MTLSharedEvent& event() override { return *event_.get(); }

  void commit(MetalWork work) override {
    const metal::AutoreleaseScope scope;
    context_->residency.touch();
    std::vector<std::unique_ptr<Slot>> slots;
    slots.reserve(work.pieces.size());
    for (const MetalPiece& piece : work.pieces) {
      encode(*slots.emplace_back(take_slot()), work, piece);
    }
    const auto ended = std::make_shared<decltype(work.ended)>(std::move(work.ended));
    std::vector<metal::Owned<metal::MTL4CommitOptions>> options;
    std::vector<const metal::MTL4CommandBuffer*> buffers;
    for (size_t i = 0; i < slots.size(); ++i) {
      buffers.push_back(slots[i]->buffer.get());
      options.push_back(metal::make_object<metal::MTL4CommitOptions>());
      // In a shared pointer, as a function must be one that can be copied.
      const auto slot = std::make_shared<std::unique_ptr<Slot>>(std::move(slots[i]));
      options[i]->add_feedback_handler(
          [free = free_, slot, ended, i](metal::MTL4CommitFeedback* end) {
            const MetalEnd result = end_of(*end);
            free->give(std::move(*slot));
            (*ended)(i, result);
          });
    }
    for (const MetalEventPoint& point : work.waits) queue_->wait(point.event, point.value);
    for (size_t i = 0; i < buffers.size(); ++i) {
      queue_->commit(&buffers[i], 1, options[i].get());
      queue_->signal(event_.get(), work.first_value + i);
    }
  }

 private:
  static MetalEnd end_of(metal::MTL4CommitFeedback& feedback) {
    const metal::AutoreleaseScope scope;
    const metal::NSError* const error = feedback.error();
    return {metal_fault(error), metal_error_text(error), host_ns_of(feedback.gpu_start_time()),
            host_ns_of(feedback.gpu_end_time())};
  }

  std::unique_ptr<Slot> take_slot() {
    if (std::unique_ptr<Slot> slot = free_->take()) {
      slot->allocator->reset();
      return slot;
    }
    auto slot = std::make_unique<Slot>();
    metal::MTLDevice& device = *context_->device.get();
    slot->allocator = metal::Owned<metal::MTL4CommandAllocator>(device.new_command_allocator());
    slot->buffer = metal::Owned<metal::MTL4CommandBuffer>(device.new_command_buffer4());
    const auto descriptor = metal::make_object<metal::MTL4ArgumentTableDescriptor>();
    descriptor->set_max_buffer_bind_count(1);
    metal::NSError* error = nullptr;
    slot->table =
        metal::Owned<metal::MTL4ArgumentTable>(device.new_argument_table(descriptor.get(), &error));
    if (slot->allocator && slot->buffer && slot->table) return slot;
    throw_error<DeviceError>(
        "metal_queue.commit",
        "Metal makes no command allocator, command buffer or argument table {}",
        metal_error_text(error));
  }

  static void encode(Slot& slot, const MetalWork& work, const MetalPiece& piece) {
    constexpr MTLStages kAll = MTLStages::kDispatch | MTLStages::kBlit;
    slot.buffer->begin(slot.allocator.get());
    slot.buffer->set_label(metal::NSString::from(std::string(work.label)));
    if (piece.count > 0) {
      metal::MTL4ComputeCommandEncoder* const encoder = slot.buffer->compute_encoder();
      encoder->queue_barrier(kAll, kAll, MTL4VisibilityOptions::kDevice);
      encoder->set_argument_table(slot.table.get());
      const metal::MTLComputePipelineState* pipeline = nullptr;
      for (size_t i = 0; i < piece.count; ++i) {
        const MetalStep& step = work.program->steps()[piece.first + i];
        if (i > 0 && step.barrier_before) {
          encoder->encoder_barrier(MTLStages::kDispatch, MTLStages::kDispatch,
                                   MTL4VisibilityOptions::kDevice);
        }
        if (step.pipeline != pipeline) encoder->set_pipeline(pipeline = step.pipeline);
        slot.table->set_address(work.program->params().gpu_address + step.params_offset, 0);
        encoder->dispatch(step.groups, step.threads);
      }
      encoder->end_encoding();
    }
    slot.buffer->end();
  }

  const std::shared_ptr<MetalContext> context_;
  metal::Owned<metal::MTL4CommandQueue> queue_;
  metal::Owned<metal::MTLSharedEvent> event_;
  const std::shared_ptr<FreeSlots> free_;
};

}  // namespace

std::unique_ptr<MetalPort> make_metal4_port(const std::shared_ptr<MetalContext>& context) {
  return std::make_unique<Metal4Port>(context);
}

}  // namespace krserve
