// Metal's errors as text: what happened, Metal's own words, and what to do about it.
#pragma once

#include <string>

#include "device/metal/api/foundation.h"

namespace krserve {

enum class MetalFault {
  kNone,
  kOutOfMemory,
  kTimeout,
  kInteractivity,   // ended because the display waited for it
  kInnocentVictim,  // ended because other work on the GPU went wrong
  kPageFault,
  kNotPermitted,
  kDeviceRemoved,
  kOther,
};

// `error` may be null: kNone.
MetalFault metal_fault(const metal::NSError* error);
// "MTLCommandBufferErrorDomain 8: Insufficient Memory (...)"; empty for null.
std::string metal_error_text(const metal::NSError* error);
// "out of memory", and what to do: "lower memory.limit_mb ...".
const char* metal_fault_name(MetalFault fault);
const char* metal_fault_remedy(MetalFault fault);

}  // namespace krserve
