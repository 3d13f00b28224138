// What this process uses, from the operating system.
#pragma once

#include <cstdint>

namespace krserve {

struct ProcessUsage {
  uint64_t resident_bytes = 0;       // now; 0 if unknown
  uint64_t peak_resident_bytes = 0;  // ever
  double cpu_seconds = 0;            // user and system
};

ProcessUsage process_usage();

}  // namespace krserve
