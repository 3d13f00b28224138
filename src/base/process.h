// What this process uses, from the operating system.
#pragma once

#include <cstdint>
#include <string>

namespace krserve {

struct ProcessUsage {
  uint64_t resident_bytes = 0;       // now; 0 if unknown
  uint64_t peak_resident_bytes = 0;  // ever
  double cpu_seconds = 0;            // user and system
};

ProcessUsage process_usage();

// The path of this process's program. Throws Error if the system does not tell.
std::string executable_path();

}  // namespace krserve
