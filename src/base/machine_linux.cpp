#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>

#include "base/machine.h"

namespace krserve {
namespace {

std::string processor_name() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "CPU";
}

uint64_t memory_bytes() {
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(page) : 0;
}

}  // namespace

MachineFacts machine_facts() {
  MachineFacts facts;
  utsname system{};
  if (uname(&system) == 0) {
    facts.system = system.sysname;
    facts.version = parse_system_version(system.release);
  }
  facts.processor = processor_name();
  facts.memory_bytes = memory_bytes();
  return facts;
}

// MemAvailable of proc(5).
uint64_t available_memory_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  uint64_t kib = 0;
  std::string unit;
  while (file >> key >> kib) {
    std::getline(file, unit);
    if (key == "MemAvailable:") return kib * 1024;
  }
  return 0;
}

}  // namespace krserve
