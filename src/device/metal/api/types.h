// Metal's and Foundation's plain types: names, structs and enum values as Apple's headers have
// them.
#pragma once

#include <cstdint>

struct objc_selector;

namespace krserve::metal {

using Selector = const objc_selector*;
using NSUInteger = unsigned long;
using NSInteger = long;
using MTLGPUAddress = uint64_t;

struct NSRange {
  NSUInteger location;
  NSUInteger length;
};

struct NSOperatingSystemVersion {
  NSInteger major;
  NSInteger minor;
  NSInteger patch;
};

struct MTLSize {
  NSUInteger width;
  NSUInteger height;
  NSUInteger depth;
};

struct MTLSizeAndAlign {
  NSUInteger size;
  NSUInteger align;
};

static_assert(sizeof(NSUInteger) == 8 && sizeof(NSRange) == 16);
static_assert(sizeof(MTLSize) == 24 && sizeof(MTLSizeAndAlign) == 16);

enum class MTLGPUFamily : NSInteger {
  kApple7 = 1007,
  kApple8 = 1008,
  kApple9 = 1009,
  kApple10 = 1010,
  kMetal3 = 5001,
  kMetal4 = 5002,
};

enum class MTLStorageMode : NSUInteger { kShared = 0, kManaged = 1, kPrivate = 2, kMemoryless = 3 };

enum class MTLHazardTrackingMode : NSUInteger { kDefault = 0, kUntracked = 1, kTracked = 2 };

enum class MTLHeapType : NSInteger { kAutomatic = 0, kPlacement = 1, kSparse = 2 };

// Storage mode in bits 4 to 7, hazard tracking mode in bits 8 and 9.
enum class MTLResourceOptions : NSUInteger {
  kStorageModeShared = 0,
  kStorageModeManaged = 1 << 4,
  kStorageModePrivate = 2 << 4,
  kHazardTrackingModeUntracked = 1 << 8,
  kHazardTrackingModeTracked = 2 << 8,
};

constexpr MTLResourceOptions operator|(MTLResourceOptions a, MTLResourceOptions b) {
  return static_cast<MTLResourceOptions>(static_cast<NSUInteger>(a) | static_cast<NSUInteger>(b));
}

// Bits: read, write.
enum class MTLResourceUsage : NSUInteger { kRead = 1, kWrite = 2, kReadWrite = 3 };

enum class MTLLanguageVersion : NSUInteger {
  k3_0 = (3 << 16) + 0,
  k3_1 = (3 << 16) + 1,
  k3_2 = (3 << 16) + 2,
  k4_0 = (4 << 16) + 0,
};

enum class MTLMathMode : NSInteger { kSafe = 0, kRelaxed = 1, kFast = 2 };

enum class MTLMathFloatingPointFunctions : NSInteger { kFast = 0, kPrecise = 1 };

enum class MTLLibraryError : NSInteger {
  kUnsupported = 1,
  kInternal = 2,
  kCompileFailure = 3,
  kCompileWarning = 4,
  kFunctionNotFound = 5,
  kFileNotFound = 6,
};

enum class MTLDispatchType : NSUInteger { kSerial = 0, kConcurrent = 1 };

enum class MTLBarrierScope : NSUInteger { kBuffers = 1 };

enum class MTLCommandBufferStatus : NSUInteger {
  kNotEnqueued = 0,
  kEnqueued = 1,
  kCommitted = 2,
  kScheduled = 3,
  kCompleted = 4,
  kError = 5,
};

// Domain "MTLCommandBufferErrorDomain". Of what the kernel's driver tells ("Impacting
// Interactivity", "Innocent Victim") only the description speaks.
enum class MTLCommandBufferError : NSInteger {
  kNone = 0,
  kInternal = 1,
  kTimeout = 2,
  kPageFault = 3,
  kAccessRevoked = 4,
  kNotPermitted = 7,
  kOutOfMemory = 8,
  kInvalidResource = 9,
  kMemoryless = 10,
  kDeviceRemoved = 11,
  kStackOverflow = 12,
};

// Domain "MTL4CommandQueueErrorDomain".
enum class MTL4CommandQueueError : NSInteger {
  kNone = 0,
  kTimeout = 1,
  kNotPermitted = 2,
  kOutOfMemory = 3,
  kDeviceRemoved = 4,
  kAccessRevoked = 5,
  kInternal = 6,
};

enum class MTLStages : NSUInteger { kDispatch = 1UL << 27, kBlit = 1UL << 28 };

constexpr MTLStages operator|(MTLStages a, MTLStages b) {
  return static_cast<MTLStages>(static_cast<NSUInteger>(a) | static_cast<NSUInteger>(b));
}
constexpr bool has_stages(MTLStages all, MTLStages some) {
  return (static_cast<NSUInteger>(all) & static_cast<NSUInteger>(some)) != 0;
}

enum class MTLCaptureDestination : NSInteger { kDeveloperTools = 1, kTraceDocument = 2 };

// Domain "MTLCaptureErrorDomain".
enum class MTLCaptureError : NSInteger {
  kNotSupported = 1,
  kAlreadyCapturing = 2,
  kInvalidDescriptor = 3,
};

enum class MTL4VisibilityOptions : NSUInteger { kNone = 0, kDevice = 1, kResourceAlias = 2 };

// Buffer indices of one kernel: 0 to 30.
inline constexpr NSUInteger kMaxBufferBindings = 31;
// Of setBytes:length:atIndex:.
inline constexpr NSUInteger kMaxInlineBytes = 4096;
// Residency sets of one queue, and of one command buffer.
inline constexpr NSUInteger kMaxResidencySets = 32;

class NSObject;
class NSString;
class NSError;
class NSArray;
class NSDictionary;
class NSProcessInfo;
class NSURL;
class MTLDevice;
class MTLArchitecture;
class MTLCaptureManager;
class MTLCaptureDescriptor;
class MTLAllocation;
class MTLBuffer;
class MTLHeap;
class MTLHeapDescriptor;
class MTLEvent;
class MTLSharedEvent;
class MTLResidencySet;
class MTLResidencySetDescriptor;
class MTLCompileOptions;
class MTLLibrary;
class MTLFunction;
class MTLComputePipelineState;
class MTLCommandQueue;
class MTLCommandBuffer;
class MTLBlitCommandEncoder;
class MTLComputeCommandEncoder;
class MTL4CommandQueue;
class MTL4CommandAllocator;
class MTL4CommandBuffer;
class MTL4ComputeCommandEncoder;
class MTL4ArgumentTable;
class MTL4ArgumentTableDescriptor;
class MTL4CommitOptions;
class MTL4CommitFeedback;

}  // namespace krserve::metal
