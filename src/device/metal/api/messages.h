// Every message that the Metal back end sends: who gets it, its selector and its signature.
#pragma once

#include <span>
#include <string>

#include "device/metal/api/types.h"

namespace krserve::metal {

template <class Signature>
class Block;

using CompletedBlock = Block<void(MTLCommandBuffer*)>;
using FeedbackBlock = Block<void(MTL4CommitFeedback*)>;
using DeallocatorBlock = Block<void(void*, NSUInteger)>;

// X(name, kind, receiver's class or protocol, selector, signature)
#define KR_FOUNDATION_MESSAGES(X)                                                               \
  X(New, kClass, "NSObject", "new", NSObject*())                                                \
  X(Retain, kInstance, "NSObject", "retain", NSObject*())                                       \
  X(Release, kInstance, "NSObject", "release", void())                                          \
  X(RespondsToSelector, kInstance, "NSObject", "respondsToSelector:", bool(Selector))           \
  X(PoolDrain, kInstance, "NSAutoreleasePool", "drain", void())                                 \
  X(StringWithUtf8, kClass, "NSString", "stringWithUTF8String:", NSString*(const char*))        \
  X(StringUtf8, kInstance, "NSString", "UTF8String", const char*())                             \
  X(ErrorCode, kInstance, "NSError", "code", NSInteger())                                       \
  X(ErrorDomain, kInstance, "NSError", "domain", NSString*())                                   \
  X(ErrorDescription, kInstance, "NSError", "localizedDescription", NSString*())                \
  X(ErrorUserInfo, kInstance, "NSError", "userInfo", NSDictionary*())                           \
  X(DictionaryObject, kInstance, "NSDictionary", "objectForKey:", NSObject*(const NSObject*))   \
  X(ArrayCount, kInstance, "NSArray", "count", NSUInteger())                                    \
  X(ArrayObject, kInstance, "NSArray", "objectAtIndex:", NSObject*(NSUInteger))                 \
  X(FileUrl, kClass, "NSURL", "fileURLWithPath:", NSURL*(const NSString*))                      \
  X(ProcessInfo, kClass, "NSProcessInfo", "processInfo", NSProcessInfo*())                      \
  X(SystemVersionText, kInstance, "NSProcessInfo", "operatingSystemVersionString", NSString*()) \
  X(SystemIsAtLeast, kInstance, "NSProcessInfo",                                                \
    "isOperatingSystemAtLeastVersion:", bool(NSOperatingSystemVersion))

#define KR_METAL_DEVICE_MESSAGES(X)                                                                \
  X(DeviceName, kInstance, "MTLDevice", "name", NSString*())                                       \
  X(DeviceArchitecture, kInstance, "MTLDevice", "architecture", MTLArchitecture*())                \
  X(ArchitectureName, kInstance, "MTLArchitecture", "name", NSString*())                           \
  X(RegistryId, kInstance, "MTLDevice", "registryID", uint64_t())                                  \
  X(HasUnifiedMemory, kInstance, "MTLDevice", "hasUnifiedMemory", bool())                          \
  X(SupportsFamily, kInstance, "MTLDevice", "supportsFamily:", bool(MTLGPUFamily))                 \
  X(WorkingSetSize, kInstance, "MTLDevice", "recommendedMaxWorkingSetSize", uint64_t())            \
  X(MaxBufferLength, kInstance, "MTLDevice", "maxBufferLength", NSUInteger())                      \
  X(DeviceThreadgroupMemory, kInstance, "MTLDevice", "maxThreadgroupMemoryLength", NSUInteger())   \
  X(DeviceAllocatedSize, kInstance, "MTLDevice", "currentAllocatedSize", NSUInteger())             \
  X(SampleTimestamps, kInstance, "MTLDevice",                                                      \
    "sampleTimestamps:gpuTimestamp:", void(uint64_t*, uint64_t*))                                  \
  X(HeapSizeAndAlign, kInstance, "MTLDevice",                                                      \
    "heapBufferSizeAndAlignWithLength:options:", MTLSizeAndAlign(NSUInteger, MTLResourceOptions))  \
  X(NewHeap, kInstance, "MTLDevice", "newHeapWithDescriptor:", MTLHeap*(const MTLHeapDescriptor*)) \
  X(NewBuffer, kInstance, "MTLDevice",                                                             \
    "newBufferWithLength:options:", MTLBuffer*(NSUInteger, MTLResourceOptions))                    \
  X(NewBufferNoCopy, kInstance, "MTLDevice",                                                       \
    "newBufferWithBytesNoCopy:length:options:deallocator:",                                        \
    MTLBuffer*(void*, NSUInteger, MTLResourceOptions, const DeallocatorBlock*))                    \
  X(NewSharedEvent, kInstance, "MTLDevice", "newSharedEvent", MTLSharedEvent*())                   \
  X(NewResidencySet, kInstance, "MTLDevice", "newResidencySetWithDescriptor:error:",               \
    MTLResidencySet*(const MTLResidencySetDescriptor*, NSError**))                                 \
  X(NewLibraryFromSource, kInstance, "MTLDevice", "newLibraryWithSource:options:error:",           \
    MTLLibrary*(const NSString*, const MTLCompileOptions*, NSError**))                             \
  X(NewLibraryFromUrl, kInstance, "MTLDevice",                                                     \
    "newLibraryWithURL:error:", MTLLibrary*(const NSURL*, NSError**))                              \
  X(NewPipeline, kInstance, "MTLDevice", "newComputePipelineStateWithFunction:error:",             \
    MTLComputePipelineState*(const MTLFunction*, NSError**))                                       \
  X(NewCommandQueue, kInstance, "MTLDevice",                                                       \
    "newCommandQueueWithMaxCommandBufferCount:", MTLCommandQueue*(NSUInteger))                     \
  X(NewCommandQueue4, kInstance, "MTLDevice", "newMTL4CommandQueue", MTL4CommandQueue*())          \
  X(NewAllocator, kInstance, "MTLDevice", "newCommandAllocator", MTL4CommandAllocator*())          \
  X(NewCommandBuffer4, kInstance, "MTLDevice", "newCommandBuffer", MTL4CommandBuffer*())           \
  X(NewArgumentTable, kInstance, "MTLDevice", "newArgumentTableWithDescriptor:error:",             \
    MTL4ArgumentTable*(const MTL4ArgumentTableDescriptor*, NSError**))

#define KR_METAL_RESOURCE_MESSAGES(X)                                                              \
  X(AllocatedSize, kInstance, "MTLAllocation", "allocatedSize", NSUInteger())                      \
  X(BufferContents, kInstance, "MTLBuffer", "contents", void*())                                   \
  X(BufferLength, kInstance, "MTLBuffer", "length", NSUInteger())                                  \
  X(BufferAddress, kInstance, "MTLBuffer", "gpuAddress", MTLGPUAddress())                          \
  X(HeapSetSize, kInstance, "MTLHeapDescriptor", "setSize:", void(NSUInteger))                     \
  X(HeapSetStorage, kInstance, "MTLHeapDescriptor", "setStorageMode:", void(MTLStorageMode))       \
  X(HeapSetHazards, kInstance, "MTLHeapDescriptor",                                                \
    "setHazardTrackingMode:", void(MTLHazardTrackingMode))                                         \
  X(HeapSetType, kInstance, "MTLHeapDescriptor", "setType:", void(MTLHeapType))                    \
  X(HeapNewBuffer, kInstance, "MTLHeap",                                                           \
    "newBufferWithLength:options:offset:", MTLBuffer*(NSUInteger, MTLResourceOptions, NSUInteger)) \
  X(EventValue, kInstance, "MTLSharedEvent", "signaledValue", uint64_t())                          \
  X(EventSetValue, kInstance, "MTLSharedEvent", "setSignaledValue:", void(uint64_t))               \
  X(EventWait, kInstance, "MTLSharedEvent",                                                        \
    "waitUntilSignaledValue:timeoutMS:", bool(uint64_t, uint64_t))                                 \
  X(ResidencySetCapacity, kInstance, "MTLResidencySetDescriptor",                                  \
    "setInitialCapacity:", void(NSUInteger))                                                       \
  X(ResidencyAdd, kInstance, "MTLResidencySet", "addAllocation:", void(const MTLAllocation*))      \
  X(ResidencyRemove, kInstance, "MTLResidencySet",                                                 \
    "removeAllocation:", void(const MTLAllocation*))                                               \
  X(ResidencyCommit, kInstance, "MTLResidencySet", "commit", void())                               \
  X(ResidencyRequest, kInstance, "MTLResidencySet", "requestResidency", void())                    \
  X(ResidencyEnd, kInstance, "MTLResidencySet", "endResidency", void())

#define KR_METAL_LIBRARY_MESSAGES(X)                                                              \
  X(SetLanguage, kInstance, "MTLCompileOptions", "setLanguageVersion:", void(MTLLanguageVersion)) \
  X(SetFastMath, kInstance, "MTLCompileOptions", "setFastMathEnabled:", void(bool))               \
  X(SetMathMode, kInstance, "MTLCompileOptions", "setMathMode:", void(MTLMathMode))               \
  X(SetMathFunctions, kInstance, "MTLCompileOptions",                                             \
    "setMathFloatingPointFunctions:", void(MTLMathFloatingPointFunctions))                        \
  X(NewFunction, kInstance, "MTLLibrary", "newFunctionWithName:", MTLFunction*(const NSString*))  \
  X(FunctionNames, kInstance, "MTLLibrary", "functionNames", NSArray*())                          \
  X(FunctionName, kInstance, "MTLFunction", "name", NSString*())                                  \
  X(MaxThreads, kInstance, "MTLComputePipelineState", "maxTotalThreadsPerThreadgroup",            \
    NSUInteger())                                                                                 \
  X(SimdWidth, kInstance, "MTLComputePipelineState", "threadExecutionWidth", NSUInteger())        \
  X(StaticMemory, kInstance, "MTLComputePipelineState", "staticThreadgroupMemoryLength",          \
    NSUInteger())

#define KR_METAL3_MESSAGES(X)                                                                     \
  X(CommandBuffer, kInstance, "MTLCommandQueue", "commandBuffer", MTLCommandBuffer*())            \
  X(QueueAddSet3, kInstance, "MTLCommandQueue", "addResidencySet:", void(const MTLResidencySet*)) \
  X(QueueRemoveSet3, kInstance, "MTLCommandQueue",                                                \
    "removeResidencySet:", void(const MTLResidencySet*))                                          \
  X(BufferSetLabel, kInstance, "MTLCommandBuffer", "setLabel:", void(const NSString*))            \
  X(UseSet3, kInstance, "MTLCommandBuffer", "useResidencySet:", void(const MTLResidencySet*))     \
  X(BlitEncoder, kInstance, "MTLCommandBuffer", "blitCommandEncoder", MTLBlitCommandEncoder*())   \
  X(ComputeEncoder, kInstance, "MTLCommandBuffer",                                                \
    "computeCommandEncoderWithDispatchType:", MTLComputeCommandEncoder*(MTLDispatchType))         \
  X(EncodeSignal, kInstance, "MTLCommandBuffer",                                                  \
    "encodeSignalEvent:value:", void(const MTLEvent*, uint64_t))                                  \
  X(EncodeWait, kInstance, "MTLCommandBuffer",                                                    \
    "encodeWaitForEvent:value:", void(const MTLEvent*, uint64_t))                                 \
  X(AddCompleted, kInstance, "MTLCommandBuffer",                                                  \
    "addCompletedHandler:", void(const CompletedBlock*))                                          \
  X(Commit, kInstance, "MTLCommandBuffer", "commit", void())                                      \
  X(WaitCompleted, kInstance, "MTLCommandBuffer", "waitUntilCompleted", void())                   \
  X(Status, kInstance, "MTLCommandBuffer", "status", MTLCommandBufferStatus())                    \
  X(BufferError, kInstance, "MTLCommandBuffer", "error", NSError*())                              \
  X(BufferStartTime, kInstance, "MTLCommandBuffer", "GPUStartTime", double())                     \
  X(BufferEndTime, kInstance, "MTLCommandBuffer", "GPUEndTime", double())                         \
  X(EndEncoding, kInstance, "MTLCommandEncoder", "endEncoding", void())                           \
  X(BlitCopy, kInstance, "MTLBlitCommandEncoder",                                                 \
    "copyFromBuffer:sourceOffset:toBuffer:destinationOffset:size:",                               \
    void(const MTLBuffer*, NSUInteger, const MTLBuffer*, NSUInteger, NSUInteger))                 \
  X(BlitFill, kInstance, "MTLBlitCommandEncoder",                                                 \
    "fillBuffer:range:value:", void(const MTLBuffer*, NSRange, uint8_t))                          \
  X(SetPipeline, kInstance, "MTLComputeCommandEncoder",                                           \
    "setComputePipelineState:", void(const MTLComputePipelineState*))                             \
  X(SetBuffer, kInstance, "MTLComputeCommandEncoder",                                             \
    "setBuffer:offset:atIndex:", void(const MTLBuffer*, NSUInteger, NSUInteger))                  \
  X(SetBytes, kInstance, "MTLComputeCommandEncoder",                                              \
    "setBytes:length:atIndex:", void(const void*, NSUInteger, NSUInteger))                        \
  X(SetThreadgroupMemory, kInstance, "MTLComputeCommandEncoder",                                  \
    "setThreadgroupMemoryLength:atIndex:", void(NSUInteger, NSUInteger))                          \
  X(Dispatch, kInstance, "MTLComputeCommandEncoder",                                              \
    "dispatchThreadgroups:threadsPerThreadgroup:", void(MTLSize, MTLSize))                        \
  X(MemoryBarrier, kInstance, "MTLComputeCommandEncoder",                                         \
    "memoryBarrierWithScope:", void(MTLBarrierScope))                                             \
  X(UseHeap, kInstance, "MTLComputeCommandEncoder", "useHeap:", void(const MTLHeap*))             \
  X(UseResource, kInstance, "MTLComputeCommandEncoder",                                           \
    "useResource:usage:", void(const MTLBuffer*, MTLResourceUsage))

#define KR_METAL4_MESSAGES(X)                                                                      \
  X(QueueCommit4, kInstance, "MTL4CommandQueue", "commit:count:options:",                          \
    void(const MTL4CommandBuffer* const*, NSUInteger, const MTL4CommitOptions*))                   \
  X(QueueCommitPlain4, kInstance, "MTL4CommandQueue",                                              \
    "commit:count:", void(const MTL4CommandBuffer* const*, NSUInteger))                            \
  X(QueueSignal4, kInstance, "MTL4CommandQueue",                                                   \
    "signalEvent:value:", void(const MTLEvent*, uint64_t))                                         \
  X(QueueWait4, kInstance, "MTL4CommandQueue",                                                     \
    "waitForEvent:value:", void(const MTLEvent*, uint64_t))                                        \
  X(QueueAddSet4, kInstance, "MTL4CommandQueue", "addResidencySet:", void(const MTLResidencySet*)) \
  X(QueueRemoveSet4, kInstance, "MTL4CommandQueue",                                                \
    "removeResidencySet:", void(const MTLResidencySet*))                                           \
  X(AddFeedback, kInstance, "MTL4CommitOptions",                                                   \
    "addFeedbackHandler:", void(const FeedbackBlock*))                                             \
  X(FeedbackError, kInstance, "MTL4CommitFeedback", "error", NSError*())                           \
  X(FeedbackStartTime, kInstance, "MTL4CommitFeedback", "GPUStartTime", double())                  \
  X(FeedbackEndTime, kInstance, "MTL4CommitFeedback", "GPUEndTime", double())                      \
  X(AllocatorReset, kInstance, "MTL4CommandAllocator", "reset", void())                            \
  X(Begin4, kInstance, "MTL4CommandBuffer",                                                        \
    "beginCommandBufferWithAllocator:", void(const MTL4CommandAllocator*))                         \
  X(End4, kInstance, "MTL4CommandBuffer", "endCommandBuffer", void())                              \
  X(SetLabel4, kInstance, "MTL4CommandBuffer", "setLabel:", void(const NSString*))                 \
  X(ComputeEncoder4, kInstance, "MTL4CommandBuffer", "computeCommandEncoder",                      \
    MTL4ComputeCommandEncoder*())                                                                  \
  X(UseSet4, kInstance, "MTL4CommandBuffer", "useResidencySet:", void(const MTLResidencySet*))     \
  X(TableSetCount, kInstance, "MTL4ArgumentTableDescriptor",                                       \
    "setMaxBufferBindCount:", void(NSUInteger))                                                    \
  X(TableSetAddress, kInstance, "MTL4ArgumentTable",                                               \
    "setAddress:atIndex:", void(MTLGPUAddress, NSUInteger))                                        \
  X(EndEncoding4, kInstance, "MTL4CommandEncoder", "endEncoding", void())                          \
  X(EncoderBarrier4, kInstance, "MTL4CommandEncoder",                                              \
    "barrierAfterEncoderStages:beforeEncoderStages:visibilityOptions:",                            \
    void(MTLStages, MTLStages, MTL4VisibilityOptions))                                             \
  X(QueueBarrier4, kInstance, "MTL4CommandEncoder",                                                \
    "barrierAfterQueueStages:beforeStages:visibilityOptions:",                                     \
    void(MTLStages, MTLStages, MTL4VisibilityOptions))                                             \
  X(SetPipeline4, kInstance, "MTL4ComputeCommandEncoder",                                          \
    "setComputePipelineState:", void(const MTLComputePipelineState*))                              \
  X(SetTable4, kInstance, "MTL4ComputeCommandEncoder",                                             \
    "setArgumentTable:", void(const MTL4ArgumentTable*))                                           \
  X(SetThreadgroupMemory4, kInstance, "MTL4ComputeCommandEncoder",                                 \
    "setThreadgroupMemoryLength:atIndex:", void(NSUInteger, NSUInteger))                           \
  X(Dispatch4, kInstance, "MTL4ComputeCommandEncoder",                                             \
    "dispatchThreadgroups:threadsPerThreadgroup:", void(MTLSize, MTLSize))                         \
  X(Copy4, kInstance, "MTL4ComputeCommandEncoder",                                                 \
    "copyFromBuffer:sourceOffset:toBuffer:destinationOffset:size:",                                \
    void(const MTLBuffer*, NSUInteger, const MTLBuffer*, NSUInteger, NSUInteger))                  \
  X(Fill4, kInstance, "MTL4ComputeCommandEncoder",                                                 \
    "fillBuffer:range:value:", void(const MTLBuffer*, NSRange, uint8_t))

#define KR_METAL_CAPTURE_MESSAGES(X)                                                           \
  X(CaptureManager, kClass, "MTLCaptureManager", "sharedCaptureManager", MTLCaptureManager*()) \
  X(CaptureSupports, kInstance, "MTLCaptureManager",                                           \
    "supportsDestination:", bool(MTLCaptureDestination))                                       \
  X(CaptureStart, kInstance, "MTLCaptureManager",                                              \
    "startCaptureWithDescriptor:error:", bool(const MTLCaptureDescriptor*, NSError**))         \
  X(CaptureStop, kInstance, "MTLCaptureManager", "stopCapture", void())                        \
  X(CaptureIsRunning, kInstance, "MTLCaptureManager", "isCapturing", bool())                   \
  X(CaptureSetObject, kInstance, "MTLCaptureDescriptor",                                       \
    "setCaptureObject:", void(const NSObject*))                                                \
  X(CaptureSetDestination, kInstance, "MTLCaptureDescriptor",                                  \
    "setDestination:", void(MTLCaptureDestination))                                            \
  X(CaptureSetUrl, kInstance, "MTLCaptureDescriptor", "setOutputURL:", void(const NSURL*))

enum class MessageKind { kClass, kInstance };

constexpr size_t count_colons(const char* text) {
  size_t count = 0;
  for (; *text; ++text) count += *text == ':';
  return count;
}

template <class Signature>
struct Arity;
template <class R, class... A>
struct Arity<R(A...)> {
  static constexpr size_t kValue = sizeof...(A);
};

// One type for each message; send<msg::Release>(object).
namespace msg {
#define KR_DECLARE_MESSAGE(name, kind, receiver, selector, ...)                  \
  struct name {                                                                  \
    using Signature = __VA_ARGS__;                                               \
    static constexpr MessageKind kKind = MessageKind::kind;                      \
    static constexpr const char* kReceiver = receiver;                           \
    static constexpr const char* kSelector = selector;                           \
    static_assert(count_colons(selector) == Arity<Signature>::kValue, selector); \
  };
KR_FOUNDATION_MESSAGES(KR_DECLARE_MESSAGE)
KR_METAL_DEVICE_MESSAGES(KR_DECLARE_MESSAGE)
KR_METAL_RESOURCE_MESSAGES(KR_DECLARE_MESSAGE)
KR_METAL_LIBRARY_MESSAGES(KR_DECLARE_MESSAGE)
KR_METAL3_MESSAGES(KR_DECLARE_MESSAGE)
KR_METAL4_MESSAGES(KR_DECLARE_MESSAGE)
KR_METAL_CAPTURE_MESSAGES(KR_DECLARE_MESSAGE)
#undef KR_DECLARE_MESSAGE
}  // namespace msg

struct MessageInfo {
  MessageKind kind;
  const char* receiver;
  const char* selector;
  std::string encoding;
};

// All of the above, for the self-test.
std::span<const MessageInfo> all_messages();

}  // namespace krserve::metal
