#include <mach/mach.h>
#include <sys/sysctl.h>
#include <unistd.h>

#include "base/machine.h"
#include "base/units.h"

namespace krserve {
namespace {

// Empty where the system has no such name.
std::string text_of(const char* name) {
  size_t bytes = 0;
  if (sysctlbyname(name, nullptr, &bytes, nullptr, 0) != 0 || bytes == 0) return {};
  std::string text(bytes, '\0');
  if (sysctlbyname(name, text.data(), &bytes, nullptr, 0) != 0) return {};
  text.resize(bytes);
  text.resize(text.find('\0') == std::string::npos ? bytes : text.find('\0'));
  return text;
}

// 0 where the system has no such name. Some are 32 bits wide, some 64; all Macs are little-endian.
uint64_t number_of(const char* name) {
  uint64_t value = 0;
  size_t bytes = sizeof(value);
  return sysctlbyname(name, &value, &bytes, nullptr, 0) == 0 ? value : 0;
}

}  // namespace

MachineFacts machine_facts() {
  MachineFacts facts;
  facts.system = "macOS";
  facts.version = parse_system_version(text_of("kern.osproductversion"));
  // What programs built with the SDK of macOS 15 are told on macOS 26.
  if (facts.version.major == 16) facts.version.major = 26;
  facts.model = text_of("hw.model");
  facts.processor = text_of("machdep.cpu.brand_string");
  facts.memory_bytes = number_of("hw.memsize");
  facts.wired_limit_bytes = number_of("iogpu.wired_limit_mb") * kMiB;
  facts.translated = number_of("sysctl.proc_translated") != 0;
  return facts;
}

// Free pages, and those that the system drops or writes back when asked for more.
uint64_t available_memory_bytes() {
  vm_statistics64_data_t pages;
  mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
  const mach_port_t host = mach_host_self();
  const kern_return_t result =
      host_statistics64(host, HOST_VM_INFO64, reinterpret_cast<host_info64_t>(&pages), &count);
  mach_port_deallocate(mach_task_self(), host);
  if (result != KERN_SUCCESS) return 0;
  const uint64_t available =
      uint64_t{pages.free_count} + pages.inactive_count + pages.purgeable_count;
  return available * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace krserve
