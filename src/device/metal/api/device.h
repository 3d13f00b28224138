// The Metal device: makes everything else. Objects of its "new" methods belong to the caller.
#pragma once

#include "device/metal/api/capture.h"
#include "device/metal/api/commands3.h"
#include "device/metal/api/commands4.h"

namespace krserve::metal {

// macOS 14.
class MTLArchitecture : public NSObject {
 public:
  // "applegpu_g15s".
  NSString* name() const { return send<msg::ArchitectureName>(this); }
};

class MTLDevice : public NSObject {
 public:
  NSString* name() const { return send<msg::DeviceName>(this); }
  MTLArchitecture* architecture() const { return send<msg::DeviceArchitecture>(this); }
  uint64_t registry_id() const { return send<msg::RegistryId>(this); }
  bool has_unified_memory() const { return send<msg::HasUnifiedMemory>(this); }
  bool supports(MTLGPUFamily family) const { return send<msg::SupportsFamily>(this, family); }
  // The GPU and the system: macOS 26.
  bool has_metal4() {
    return responds_to(msg::NewCommandQueue4::kSelector) && supports(MTLGPUFamily::kMetal4);
  }
  uint64_t recommended_max_working_set_size() const { return send<msg::WorkingSetSize>(this); }
  NSUInteger max_buffer_length() const { return send<msg::MaxBufferLength>(this); }
  NSUInteger max_threadgroup_memory_length() const {
    return send<msg::DeviceThreadgroupMemory>(this);
  }
  // Of this process.
  NSUInteger current_allocated_size() const { return send<msg::DeviceAllocatedSize>(this); }
  // Of the host's and the GPU's clock, at one moment.
  void sample_timestamps(uint64_t* host, uint64_t* gpu) {
    send<msg::SampleTimestamps>(this, host, gpu);
  }

  MTLSizeAndAlign heap_buffer_size_and_align(NSUInteger length, MTLResourceOptions options) const {
    return send<msg::HeapSizeAndAlign>(this, length, options);
  }
  // The four below: null where there is no memory.
  MTLHeap* new_heap(const MTLHeapDescriptor* descriptor) {
    return send<msg::NewHeap>(this, descriptor);
  }
  MTLBuffer* new_buffer(NSUInteger length, MTLResourceOptions options) {
    return send<msg::NewBuffer>(this, length, options);
  }
  // Over pages of the host, which must outlive it. Address and length are multiples of a page.
  MTLBuffer* new_buffer_no_copy(void* pages, NSUInteger length, MTLResourceOptions options) {
    return send<msg::NewBufferNoCopy>(this, pages, length, options, nullptr);
  }
  MTLResidencySet* new_residency_set(const MTLResidencySetDescriptor* descriptor, NSError** error) {
    return send<msg::NewResidencySet>(this, descriptor, error);
  }
  MTLSharedEvent* new_shared_event() { return send<msg::NewSharedEvent>(this); }

  // Null on failure, and an autoreleased error that tells why.
  MTLLibrary* new_library(const NSString* source, const MTLCompileOptions* options,
                          NSError** error) {
    return send<msg::NewLibraryFromSource>(this, source, options, error);
  }
  MTLLibrary* new_library(const NSURL* file, NSError** error) {
    return send<msg::NewLibraryFromUrl>(this, file, error);
  }
  MTLComputePipelineState* new_pipeline(const MTLFunction* function, NSError** error) {
    return send<msg::NewPipeline>(this, function, error);
  }

  MTLCommandQueue* new_command_queue(NSUInteger max_command_buffers) {
    return send<msg::NewCommandQueue>(this, max_command_buffers);
  }
  MTL4CommandQueue* new_command_queue4() { return send<msg::NewCommandQueue4>(this); }
  MTL4CommandAllocator* new_command_allocator() { return send<msg::NewAllocator>(this); }
  MTL4CommandBuffer* new_command_buffer4() { return send<msg::NewCommandBuffer4>(this); }
  MTL4ArgumentTable* new_argument_table(const MTL4ArgumentTableDescriptor* descriptor,
                                        NSError** error) {
    return send<msg::NewArgumentTable>(this, descriptor, error);
  }
};

}  // namespace krserve::metal

// Null where there is no Metal. Owned by the caller.
extern "C" krserve::metal::MTLDevice* MTLCreateSystemDefaultDevice();
