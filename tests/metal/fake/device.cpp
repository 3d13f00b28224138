// The device, and every class's methods under the selectors that Metal has them.
#include <chrono>

#include "metal/fake/queues.h"

namespace krserve::fake_metal {
namespace {

class Architecture : public Object {
 public:
  const char* class_name() const override { return "MTLArchitecture"; }
  String* name() { return make_string("fakegpu_g0"); }
};

class Device : public Object {
 public:
  const char* class_name() const override { return "MTLDevice"; }

  String* name() { return make_string("Fake Metal"); }
  bool has_unified_memory() { return true; }
  Architecture* architecture() {
    static auto* const one = new Architecture;
    return one;
  }
  uint64_t registry_id() { return 0x100000fa4e; }
  bool supports(metal::MTLGPUFamily family) {
    using metal::MTLGPUFamily;
    if (family == MTLGPUFamily::kMetal4) return Gpu::get().options().metal4();
    return family <= MTLGPUFamily::kApple9 || family == MTLGPUFamily::kMetal3;
  }
  uint64_t working_set_size() {
    const Options& options = Gpu::get().options();
    return options.working_set_bytes ? options.working_set_bytes : options.memory_bytes;
  }
  NSUInteger threadgroup_memory() { return Gpu::get().options().threadgroup_memory_bytes; }
  NSUInteger allocated_size() { return Gpu::get().used_bytes(); }
  void sample_timestamps(uint64_t* host, uint64_t* gpu) {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    *host = static_cast<uint64_t>(std::chrono::nanoseconds(now).count());
    *gpu = *host / 40;
  }
  NSUInteger max_buffer_length() { return Gpu::get().options().memory_bytes; }

  MTLSizeAndAlign heap_size_and_align(NSUInteger length, MTLResourceOptions) {
    const uint64_t align = Gpu::get().heap_alignment(length);
    return {(length + align - 1) / align * align, align};
  }
  Heap* new_heap(HeapDescriptor* descriptor) { return Heap::make(*descriptor); }
  Buffer* new_buffer(NSUInteger length, MTLResourceOptions options) {
    return Buffer::make(length, options);
  }
  Buffer* new_buffer_no_copy(void* pages, NSUInteger length, MTLResourceOptions options,
                             const RawBlock* deallocator) {
    return Buffer::make_no_copy(pages, length, options, deallocator);
  }
  Event* new_event() { return new Event; }
  ResidencySet* new_residency_set(ResidencySetDescriptor*, Error**) { return new ResidencySet; }

  Library* new_library(String* source, CompileOptions*, Error** error) {
    if (source) return Library::compile(source->text(), error);
    violate(Rule::kNilArgument, "newLibraryWithSource: nil");
    return nullptr;
  }
  Library* load_library(Url* url, Error** error) { return Library::load(url->path(), error); }
  Pipeline* new_pipeline(Function* function, Error** error) {
    std::string text;
    if (!Gpu::get().take_compile_error(text)) return new Pipeline(function->kernel());
    set_error(error, "MTLLibraryErrorDomain",
              static_cast<long>(metal::MTLLibraryError::kCompileFailure), text);
    return nullptr;
  }

  CommandQueue* new_queue(NSUInteger max_buffers) { return new CommandQueue(max_buffers); }
  CommandQueue4* new_queue4() { return new CommandQueue4; }
  Allocator4* new_allocator() { return new Allocator4; }
  CommandBuffer4* new_command_buffer() { return new CommandBuffer4; }
  ArgumentTable* new_table(ArgumentTableDescriptor* descriptor, Error**) {
    return new ArgumentTable(descriptor->count);
  }
};

Device& the_device() {
  static auto* const device = new Device;
  return *device;
}

template <class T>
Object* make() {
  return new T;
}

void register_memory() {
  ClassBuilder("MTLAllocation").on<&Allocation::allocated_size>("allocatedSize");
  ClassBuilder("MTLBuffer", "MTLAllocation")
      .on<&Buffer::contents>("contents")
      .on<&Buffer::length>("length")
      .on<&Buffer::address>("gpuAddress");
  ClassBuilder("MTLHeapDescriptor")
      .on_class<&make<HeapDescriptor>>("new")
      .on<&HeapDescriptor::set_size>("setSize:")
      .on<&HeapDescriptor::set_storage>("setStorageMode:")
      .on<&HeapDescriptor::set_hazards>("setHazardTrackingMode:")
      .on<&HeapDescriptor::set_type>("setType:");
  ClassBuilder("MTLHeap", "MTLAllocation")
      .on<&Heap::new_buffer>("newBufferWithLength:options:offset:");
  ClassBuilder("MTLSharedEvent")
      .on<&Event::value>("signaledValue")
      .on<&Event::set_value>("setSignaledValue:")
      .on<&Event::wait_until>("waitUntilSignaledValue:timeoutMS:");
  ClassBuilder("MTLResidencySetDescriptor")
      .of(15)
      .on_class<&make<ResidencySetDescriptor>>("new")
      .on<&ResidencySetDescriptor::set_capacity>("setInitialCapacity:");
  ClassBuilder("MTLResidencySet")
      .since(15)
      .on<&ResidencySet::add>("addAllocation:")
      .on<&ResidencySet::remove>("removeAllocation:")
      .on<&ResidencySet::commit>("commit")
      .on<&ResidencySet::request>("requestResidency")
      .on<&ResidencySet::end_residency>("endResidency");
}

void register_library() {
  ClassBuilder("MTLCompileOptions")
      .on_class<&make<CompileOptions>>("new")
      .on<&CompileOptions::set_language>("setLanguageVersion:")
      .on<&CompileOptions::set_fast_math>("setFastMathEnabled:")
      .since(15)
      .on<&CompileOptions::set_math_mode>("setMathMode:")
      .on<&CompileOptions::set_math_functions>("setMathFloatingPointFunctions:");
  ClassBuilder("MTLLibrary")
      .on<&Library::new_function>("newFunctionWithName:")
      .on<&Library::function_names>("functionNames");
  ClassBuilder("MTLFunction").on<&Function::name>("name");
  ClassBuilder("MTLComputePipelineState")
      .on<&Pipeline::max_threads>("maxTotalThreadsPerThreadgroup")
      .on<&Pipeline::simd_width>("threadExecutionWidth")
      .on<&Pipeline::static_memory>("staticThreadgroupMemoryLength");
}

void register_metal3() {
  ClassBuilder("MTLCommandQueue")
      .on<&CommandQueue::command_buffer>("commandBuffer")
      .since(15)
      .on<&CommandQueue::add_set>("addResidencySet:")
      .on<&CommandQueue::remove_set>("removeResidencySet:");
  ClassBuilder("MTLCommandBuffer")
      .on<&CommandBuffer::set_label>("setLabel:")
      .on<&CommandBuffer::blit_encoder>("blitCommandEncoder")
      .on<&CommandBuffer::compute_encoder>("computeCommandEncoderWithDispatchType:")
      .on<&CommandBuffer::encode_signal>("encodeSignalEvent:value:")
      .on<&CommandBuffer::encode_wait>("encodeWaitForEvent:value:")
      .on<&CommandBuffer::add_handler>("addCompletedHandler:")
      .on<&CommandBuffer::commit>("commit")
      .on<&CommandBuffer::wait_until_completed>("waitUntilCompleted")
      .on<&CommandBuffer::status>("status")
      .on<&CommandBuffer::error>("error")
      .on<&CommandBuffer::start_time>("GPUStartTime")
      .on<&CommandBuffer::end_time>("GPUEndTime")
      .since(15)
      .on<&CommandBuffer::use_set>("useResidencySet:");
  ClassBuilder("MTLCommandEncoder").on<&Encoder::end_encoding>("endEncoding");
  ClassBuilder("MTLBlitCommandEncoder", "MTLCommandEncoder")
      .on<&Encoder::copy>("copyFromBuffer:sourceOffset:toBuffer:destinationOffset:size:")
      .on<&Encoder::fill>("fillBuffer:range:value:");
  ClassBuilder("MTLComputeCommandEncoder", "MTLCommandEncoder")
      .on<&ComputeEncoder::set_pipeline>("setComputePipelineState:")
      .on<&ComputeEncoder3::set_buffer, Nil::kAllowed>("setBuffer:offset:atIndex:")
      .on<&ComputeEncoder3::set_bytes>("setBytes:length:atIndex:")
      .on<&ComputeEncoder::set_threadgroup_memory>("setThreadgroupMemoryLength:atIndex:")
      .on<&ComputeEncoder::dispatch>("dispatchThreadgroups:threadsPerThreadgroup:")
      .on<&ComputeEncoder3::memory_barrier>("memoryBarrierWithScope:")
      .on<&ComputeEncoder3::use_heap>("useHeap:")
      .on<&ComputeEncoder3::use_resource>("useResource:usage:");
}

void register_metal4() {
  ClassBuilder("MTL4CommandQueue")
      .since(26)
      .on<&CommandQueue4::commit>("commit:count:options:")
      .on<&CommandQueue4::commit_plain>("commit:count:")
      .on<&CommandQueue4::signal>("signalEvent:value:")
      .on<&CommandQueue4::wait>("waitForEvent:value:")
      .on<&CommandQueue4::add_set>("addResidencySet:")
      .on<&CommandQueue4::remove_set>("removeResidencySet:");
  ClassBuilder("MTL4CommitOptions")
      .of(26)
      .on_class<&make<CommitOptions>>("new")
      .on<&CommitOptions::add_handler>("addFeedbackHandler:");
  ClassBuilder("MTL4CommitFeedback")
      .on<&CommitFeedback::error>("error")
      .on<&CommitFeedback::start_time>("GPUStartTime")
      .on<&CommitFeedback::end_time>("GPUEndTime");
  ClassBuilder("MTL4CommandAllocator").on<&Allocator4::reset>("reset");
  ClassBuilder("MTL4CommandBuffer")
      .on<&CommandBuffer4::begin>("beginCommandBufferWithAllocator:")
      .on<&CommandBuffer4::end_recording>("endCommandBuffer")
      .on<&CommandBuffer4::set_label>("setLabel:")
      .on<&CommandBuffer4::compute_encoder>("computeCommandEncoder")
      .on<&CommandBuffer4::use_set>("useResidencySet:");
  ClassBuilder("MTL4ArgumentTableDescriptor")
      .of(26)
      .on_class<&make<ArgumentTableDescriptor>>("new")
      .on<&ArgumentTableDescriptor::set_count>("setMaxBufferBindCount:");
  ClassBuilder("MTL4ArgumentTable").on<&ArgumentTable::set_address>("setAddress:atIndex:");
  ClassBuilder("MTL4CommandEncoder")
      .on<&Encoder::end_encoding>("endEncoding")
      .on<&ComputeEncoder4::barrier_in_encoder>(
          "barrierAfterEncoderStages:beforeEncoderStages:visibilityOptions:")
      .on<&ComputeEncoder4::barrier_in_queue>(
          "barrierAfterQueueStages:beforeStages:visibilityOptions:");
  ClassBuilder("MTL4ComputeCommandEncoder", "MTL4CommandEncoder")
      .on<&ComputeEncoder::set_pipeline>("setComputePipelineState:")
      .on<&ComputeEncoder4::set_table>("setArgumentTable:")
      .on<&ComputeEncoder::set_threadgroup_memory>("setThreadgroupMemoryLength:atIndex:")
      .on<&ComputeEncoder::dispatch>("dispatchThreadgroups:threadsPerThreadgroup:")
      .on<&Encoder::copy>("copyFromBuffer:sourceOffset:toBuffer:destinationOffset:size:")
      .on<&Encoder::fill>("fillBuffer:range:value:");
}

void register_device() {
  ClassBuilder("MTLArchitecture").on<&Architecture::name>("name");
  ClassBuilder("MTLDevice")
      .on<&Device::name>("name")
      .on<&Device::registry_id>("registryID")
      .on<&Device::threadgroup_memory>("maxThreadgroupMemoryLength")
      .on<&Device::allocated_size>("currentAllocatedSize")
      .on<&Device::sample_timestamps>("sampleTimestamps:gpuTimestamp:")
      .on<&Device::has_unified_memory>("hasUnifiedMemory")
      .on<&Device::supports>("supportsFamily:")
      .on<&Device::working_set_size>("recommendedMaxWorkingSetSize")
      .on<&Device::max_buffer_length>("maxBufferLength")
      .on<&Device::heap_size_and_align>("heapBufferSizeAndAlignWithLength:options:")
      .on<&Device::new_heap>("newHeapWithDescriptor:")
      .on<&Device::new_buffer>("newBufferWithLength:options:")
      .on<&Device::new_buffer_no_copy>("newBufferWithBytesNoCopy:length:options:deallocator:")
      .on<&Device::new_event>("newSharedEvent")
      .on<&Device::new_library, Nil::kAllowed>("newLibraryWithSource:options:error:")
      .on<&Device::load_library>("newLibraryWithURL:error:")
      .on<&Device::new_pipeline>("newComputePipelineStateWithFunction:error:")
      .on<&Device::new_queue>("newCommandQueueWithMaxCommandBufferCount:")
      .since(14)
      .on<&Device::architecture>("architecture")
      .since(15)
      .on<&Device::new_residency_set>("newResidencySetWithDescriptor:error:")
      .since(26)
      .on<&Device::new_queue4>("newMTL4CommandQueue")
      .on<&Device::new_allocator>("newCommandAllocator")
      .on<&Device::new_command_buffer>("newCommandBuffer")
      .on<&Device::new_table>("newArgumentTableWithDescriptor:error:");
}

}  // namespace

void register_metal() {
  register_memory();
  register_library();
  register_metal3();
  register_metal4();
  register_capture();
  register_device();
}

}  // namespace krserve::fake_metal

extern "C" void* MTLCreateSystemDefaultDevice() {
  return krserve::fake_metal::the_device().retain();
}
