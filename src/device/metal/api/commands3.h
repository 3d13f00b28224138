// Metal 3: command buffers of one use, made by their queue; blit and compute encoders.
#pragma once

#include "device/metal/api/library.h"
#include "device/metal/api/objc_block.h"
#include "device/metal/api/resources.h"

namespace krserve::metal {

class MTLCommandEncoder : public NSObject {
 public:
  void end_encoding() { send<msg::EndEncoding>(this); }
};

// Offsets and sizes are multiples of 4.
class MTLBlitCommandEncoder : public MTLCommandEncoder {
 public:
  void copy(const MTLBuffer* from, NSUInteger from_offset, const MTLBuffer* to,
            NSUInteger to_offset, NSUInteger bytes) {
    send<msg::BlitCopy>(this, from, from_offset, to, to_offset, bytes);
  }
  void fill(const MTLBuffer* buffer, NSRange range, uint8_t value) {
    send<msg::BlitFill>(this, buffer, range, value);
  }
};

class MTLComputeCommandEncoder : public MTLCommandEncoder {
 public:
  void set_pipeline(const MTLComputePipelineState* pipeline) {
    send<msg::SetPipeline>(this, pipeline);
  }
  void set_buffer(const MTLBuffer* buffer, NSUInteger offset, NSUInteger index) {
    send<msg::SetBuffer>(this, buffer, offset, index);
  }
  // At most kMaxInlineBytes, copied.
  void set_bytes(const void* bytes, NSUInteger length, NSUInteger index) {
    send<msg::SetBytes>(this, bytes, length, index);
  }
  // A multiple of 16.
  void set_threadgroup_memory(NSUInteger bytes, NSUInteger index) {
    send<msg::SetThreadgroupMemory>(this, bytes, index);
  }
  void dispatch(MTLSize groups, MTLSize threads) { send<msg::Dispatch>(this, groups, threads); }
  // Between dispatches of this encoder; of use with MTLDispatchType::kConcurrent.
  void memory_barrier(MTLBarrierScope scope) { send<msg::MemoryBarrier>(this, scope); }
  // Both: resident for the dispatches that follow in this encoder, which find it by address.
  void use_heap(const MTLHeap* heap) { send<msg::UseHeap>(this, heap); }
  void use_resource(const MTLBuffer* buffer, MTLResourceUsage usage) {
    send<msg::UseResource>(this, buffer, usage);
  }
};

// Retains what its commands use until it has completed.
class MTLCommandBuffer : public NSObject {
 public:
  void set_label(const NSString* label) { send<msg::BufferSetLabel>(this, label); }
  // macOS 15, as are the queue's.
  void use_residency_set(const MTLResidencySet* set) { send<msg::UseSet3>(this, set); }
  // Encoders are autoreleased; one at a time.
  MTLBlitCommandEncoder* blit_encoder() { return send<msg::BlitEncoder>(this); }
  MTLComputeCommandEncoder* compute_encoder(MTLDispatchType type) {
    return send<msg::ComputeEncoder>(this, type);
  }
  void encode_signal(const MTLEvent* event, uint64_t value) {
    send<msg::EncodeSignal>(this, event, value);
  }
  void encode_wait(const MTLEvent* event, uint64_t value) {
    send<msg::EncodeWait>(this, event, value);
  }
  // On a thread of Metal's; before commit().
  void add_completed_handler(std::function<void(MTLCommandBuffer*)> handler) {
    const CompletedBlock block(std::move(handler));
    send<msg::AddCompleted>(this, &block);
  }
  void commit() { send<msg::Commit>(this); }
  void wait_until_completed() { send<msg::WaitCompleted>(this); }
  MTLCommandBufferStatus status() const { return send<msg::Status>(this); }
  NSError* error() const { return send<msg::BufferError>(this); }
  // Seconds of the host's clock, valid when completed.
  double gpu_start_time() const { return send<msg::BufferStartTime>(this); }
  double gpu_end_time() const { return send<msg::BufferEndTime>(this); }
};

class MTLCommandQueue : public NSObject {
 public:
  // Autoreleased. Waits while as many as the queue allows have not completed.
  MTLCommandBuffer* command_buffer() { return send<msg::CommandBuffer>(this); }
  void add_residency_set(const MTLResidencySet* set) { send<msg::QueueAddSet3>(this, set); }
  void remove_residency_set(const MTLResidencySet* set) { send<msg::QueueRemoveSet3>(this, set); }
};

}  // namespace krserve::metal
