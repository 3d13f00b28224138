// Metal's memory and events: buffers, placement heaps, residency sets, shared events.
#pragma once

#include "device/metal/api/foundation.h"

namespace krserve::metal {

class MTLAllocation : public NSObject {
 public:
  NSUInteger allocated_size() const { return send<msg::AllocatedSize>(this); }
};

class MTLBuffer : public MTLAllocation {
 public:
  // Null for private storage.
  void* contents() const { return send<msg::BufferContents>(this); }
  NSUInteger length() const { return send<msg::BufferLength>(this); }
  MTLGPUAddress gpu_address() const { return send<msg::BufferAddress>(this); }
};

class MTLHeapDescriptor : public NSObject {
 public:
  static constexpr const char* kClassName = "MTLHeapDescriptor";
  void set_size(NSUInteger bytes) { send<msg::HeapSetSize>(this, bytes); }
  void set_storage_mode(MTLStorageMode mode) { send<msg::HeapSetStorage>(this, mode); }
  // The default of a heap is untracked.
  void set_hazard_tracking_mode(MTLHazardTrackingMode mode) {
    send<msg::HeapSetHazards>(this, mode);
  }
  void set_type(MTLHeapType type) { send<msg::HeapSetType>(this, type); }
};

class MTLHeap : public MTLAllocation {
 public:
  // Of a placement heap. The offset is a multiple of heapBufferSizeAndAlign's align; the caller
  // owns what comes.
  MTLBuffer* new_buffer(NSUInteger length, MTLResourceOptions options, NSUInteger offset) {
    return send<msg::HeapNewBuffer>(this, length, options, offset);
  }
};

class MTLEvent : public NSObject {};

class MTLSharedEvent : public MTLEvent {
 public:
  uint64_t signaled_value() const { return send<msg::EventValue>(this); }
  void set_signaled_value(uint64_t value) { send<msg::EventSetValue>(this, value); }
  // False: the time ran out first.
  bool wait_until(uint64_t value, uint64_t timeout_ms) {
    return send<msg::EventWait>(this, value, timeout_ms);
  }
};

class MTLResidencySetDescriptor : public NSObject {
 public:
  static constexpr const char* kClassName = "MTLResidencySetDescriptor";
  void set_initial_capacity(NSUInteger count) { send<msg::ResidencySetCapacity>(this, count); }
};

// Additions and removals count from the next commit on.
class MTLResidencySet : public NSObject {
 public:
  void add(const MTLAllocation* allocation) { send<msg::ResidencyAdd>(this, allocation); }
  void remove(const MTLAllocation* allocation) { send<msg::ResidencyRemove>(this, allocation); }
  void commit() { send<msg::ResidencyCommit>(this); }
  void request_residency() { send<msg::ResidencyRequest>(this); }
  void end_residency() { send<msg::ResidencyEnd>(this); }
};

}  // namespace krserve::metal
