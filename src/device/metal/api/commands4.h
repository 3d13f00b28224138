// Metal 4: command buffers that are recorded again and again into allocators, argument tables of
// addresses, and no synchronization but what the barriers and events say.
#pragma once

#include "device/metal/api/library.h"
#include "device/metal/api/objc_block.h"
#include "device/metal/api/resources.h"

namespace krserve::metal {

// Memory of recordings. Reset it when the commands recorded into it have ended.
class MTL4CommandAllocator : public NSObject {
 public:
  void reset() { send<msg::AllocatorReset>(this); }
};

class MTL4ArgumentTableDescriptor : public NSObject {
 public:
  static constexpr const char* kClassName = "MTL4ArgumentTableDescriptor";
  void set_max_buffer_bind_count(NSUInteger count) { send<msg::TableSetCount>(this, count); }
};

// A dispatch reads the table when it is encoded; later changes do not touch it.
class MTL4ArgumentTable : public NSObject {
 public:
  void set_address(MTLGPUAddress address, NSUInteger index) {
    send<msg::TableSetAddress>(this, address, index);
  }
};

// Its commands run in any order and at the same time, but for barriers.
class MTL4ComputeCommandEncoder : public NSObject {
 public:
  void end_encoding() { send<msg::EndEncoding4>(this); }
  // Between commands of this encoder.
  void encoder_barrier(MTLStages after, MTLStages before, MTL4VisibilityOptions visibility) {
    send<msg::EncoderBarrier4>(this, after, before, visibility);
  }
  // Between all earlier encoders of the queue and what follows in this one.
  void queue_barrier(MTLStages after, MTLStages before, MTL4VisibilityOptions visibility) {
    send<msg::QueueBarrier4>(this, after, before, visibility);
  }
  void set_pipeline(const MTLComputePipelineState* pipeline) {
    send<msg::SetPipeline4>(this, pipeline);
  }
  void set_argument_table(const MTL4ArgumentTable* table) { send<msg::SetTable4>(this, table); }
  // A multiple of 16.
  void set_threadgroup_memory(NSUInteger bytes, NSUInteger index) {
    send<msg::SetThreadgroupMemory4>(this, bytes, index);
  }
  void dispatch(MTLSize groups, MTLSize threads) { send<msg::Dispatch4>(this, groups, threads); }
  // Stage kBlit; offsets and sizes are multiples of 4.
  void copy(const MTLBuffer* from, NSUInteger from_offset, const MTLBuffer* to,
            NSUInteger to_offset, NSUInteger bytes) {
    send<msg::Copy4>(this, from, from_offset, to, to_offset, bytes);
  }
  void fill(const MTLBuffer* buffer, NSRange range, uint8_t value) {
    send<msg::Fill4>(this, buffer, range, value);
  }
};

// Retains nothing. May be begun again once it is committed.
class MTL4CommandBuffer : public NSObject {
 public:
  void begin(const MTL4CommandAllocator* allocator) { send<msg::Begin4>(this, allocator); }
  void end() { send<msg::End4>(this); }
  void set_label(const NSString* label) { send<msg::SetLabel4>(this, label); }
  // Autoreleased.
  MTL4ComputeCommandEncoder* compute_encoder() { return send<msg::ComputeEncoder4>(this); }
  void use_residency_set(const MTLResidencySet* set) { send<msg::UseSet4>(this, set); }
};

class MTL4CommitFeedback : public NSObject {
 public:
  NSError* error() const { return send<msg::FeedbackError>(this); }
  // Seconds of the host's clock.
  double gpu_start_time() const { return send<msg::FeedbackStartTime>(this); }
  double gpu_end_time() const { return send<msg::FeedbackEndTime>(this); }
};

// Of one commit: a commit takes the handlers with it.
class MTL4CommitOptions : public NSObject {
 public:
  static constexpr const char* kClassName = "MTL4CommitOptions";
  // On a thread of Metal's, once.
  void add_feedback_handler(std::function<void(MTL4CommitFeedback*)> handler) {
    const FeedbackBlock block(std::move(handler));
    send<msg::AddFeedback>(this, &block);
  }
};

class MTL4CommandQueue : public NSObject {
 public:
  void commit(const MTL4CommandBuffer* const* buffers, NSUInteger count) {
    send<msg::QueueCommitPlain4>(this, buffers, count);
  }
  void commit(const MTL4CommandBuffer* const* buffers, NSUInteger count,
              const MTL4CommitOptions* options) {
    send<msg::QueueCommit4>(this, buffers, count, options);
  }
  // When everything committed before has ended.
  void signal(const MTLEvent* event, uint64_t value) {
    send<msg::QueueSignal4>(this, event, value);
  }
  // Before everything committed after.
  void wait(const MTLEvent* event, uint64_t value) { send<msg::QueueWait4>(this, event, value); }
  void add_residency_set(const MTLResidencySet* set) { send<msg::QueueAddSet4>(this, set); }
  void remove_residency_set(const MTLResidencySet* set) { send<msg::QueueRemoveSet4>(this, set); }
};

}  // namespace krserve::metal
