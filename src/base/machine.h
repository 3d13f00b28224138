// What the operating system says about the machine: system, processor, memory.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace krserve {

struct SystemVersion {
  uint32_t major = 0;
  uint32_t minor = 0;

  friend auto operator<=>(const SystemVersion&, const SystemVersion&) = default;
};

// "15.5.1" is {15, 5}; what is no number counts as 0.
SystemVersion parse_system_version(std::string_view text);

struct MachineFacts {
  std::string system;  // "macOS", "Linux"
  SystemVersion version;
  std::string model;      // "Mac15,9"; empty if unknown
  std::string processor;  // "Apple M3 Max"
  uint64_t memory_bytes = 0;
  uint64_t wired_limit_bytes = 0;  // iogpu.wired_limit_mb; 0 = the system's own limit
  bool translated = false;         // an x86-64 program on Apple silicon
};

MachineFacts machine_facts();
// Of memory that a program could still get; 0 where the system does not say.
uint64_t available_memory_bytes();

}  // namespace krserve
