// Metal 3: command buffers of one use. Nothing is tracked by Metal: within a command buffer memory
// barriers keep the order, between them the queue's shared event.
#include "base/error.h"
#include "device/metal/metal_port.h"

namespace krserve {
namespace {

using metal::MTLCommandBuffer;

// Beyond it the queue lends no command buffer until one has completed, its handler included, and it
// may be a handler that asks.
constexpr metal::NSUInteger kQueueLength = MetalPort::kMaxInFlight + 64;

class Metal3Port final : public MetalPort {
 public:
  explicit Metal3Port(std::shared_ptr<MetalContext> context)
      : context_(std::move(context)),
        queue_(context_->device->new_command_queue(kQueueLength)),
        event_(context_->device->new_shared_event()) {
    if (!queue_ || !event_) {
      throw DeviceError("metal_device.new_queue", "Metal makes no command queue or shared event");
    }
    if (context_->residency.set()) queue_->add_residency_set(context_->residency.set());
  }

  metal::MTLSharedEvent& event() override { return *event_.get(); }

  void commit(MetalWork work) override {
    const metal::AutoreleaseScope scope;
    context_->residency.touch();
    const auto ended = std::make_shared<decltype(work.ended)>(std::move(work.ended));
    std::vector<MTLCommandBuffer*> buffers;
    buffers.reserve(work.pieces.size());
    for (size_t i = 0; i < work.pieces.size(); ++i) {
      MTLCommandBuffer* const buffer = buffers.emplace_back(queue_->command_buffer());
      if (!buffer) throw DeviceError("metal_queue.commit", "Metal makes no command buffer");
      buffer->set_label(metal::NSString::from(std::string(work.label)));
      if (i == 0) {
        for (const MetalEventPoint& point : work.waits) {
          buffer->encode_wait(point.event, point.value);
        }
      }
      const uint64_t value = work.first_value + i;
      if (value > 1) buffer->encode_wait(event_.get(), value - 1);
      encode(*buffer, *work.program, work.pieces[i]);
      buffer->encode_signal(event_.get(), value);
      buffer->add_completed_handler([this, ended, i, value](MTLCommandBuffer* done) {
        const MetalEnd end = end_of(*done);
        if (end.fault != MetalFault::kNone) raise_event(value);
        (*ended)(i, end);
      });
    }
    for (MTLCommandBuffer* buffer : buffers) buffer->commit();
  }

 private:
  // Work behind one that failed waits for its value, which nobody else raises then. (Metal 4
  // signals from the queue, not from the command buffer.)
  void raise_event(uint64_t value) {
    if (event_->signaled_value() < value) event_->set_signaled_value(value);
  }

  static MetalEnd end_of(MTLCommandBuffer& buffer) {
    const metal::AutoreleaseScope scope;
    const metal::NSError* const error = buffer.error();
    return {metal_fault(error), metal_error_text(error), host_ns_of(buffer.gpu_start_time()),
            host_ns_of(buffer.gpu_end_time())};
  }

  void encode(MTLCommandBuffer& buffer, const MetalProgram& program, const MetalPiece& piece) {
    if (piece.count == 0) return;
    metal::MTLComputeCommandEncoder* const encoder =
        buffer.compute_encoder(metal::MTLDispatchType::kConcurrent);
    if (!encoder) throw DeviceError("metal_queue.commit", "Metal makes no compute encoder");
    if (!context_->residency.set()) context_->residency.name_all(*encoder);
    const metal::MTLComputePipelineState* pipeline = nullptr;
    for (size_t i = 0; i < piece.count; ++i) {
      const MetalStep& step = program.steps()[piece.first + i];
      if (i > 0 && step.barrier_before) encoder->memory_barrier(metal::MTLBarrierScope::kBuffers);
      if (step.pipeline != pipeline) encoder->set_pipeline(pipeline = step.pipeline);
      encoder->set_buffer(program.params().buffer.get(), step.params_offset, 0);
      encoder->dispatch(step.groups, step.threads);
    }
    encoder->end_encoding();
  }

  const std::shared_ptr<MetalContext> context_;
  metal::Owned<metal::MTLCommandQueue> queue_;
  metal::Owned<metal::MTLSharedEvent> event_;
};

}  // namespace

std::unique_ptr<MetalPort> make_metal3_port(const std::shared_ptr<MetalContext>& context) {
  return std::make_unique<Metal3Port>(context);
}

}  // namespace krserve
