#include "base/process.h"

#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <fstream>

#include "base/error.h"

#ifdef __APPLE__
#include <mach-o/dyld.h>
#include <mach/mach.h>
#endif

namespace krserve {
namespace {

#ifdef __APPLE__

constexpr uint64_t kMaxRssUnit = 1;  // getrusage counts bytes

uint64_t resident_bytes() {
  mach_task_basic_info_data_t info;
  mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
  const kern_return_t result = task_info(mach_task_self(), MACH_TASK_BASIC_INFO,
                                         reinterpret_cast<task_info_t>(&info), &count);
  return result == KERN_SUCCESS ? info.resident_size : 0;
}

#else

constexpr uint64_t kMaxRssUnit = 1024;  // getrusage counts KiB

// proc(5): size resident ..., in pages.
uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t size = 0;
  uint64_t resident = 0;
  if (!(file >> size >> resident)) return 0;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

#endif

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

}  // namespace

ProcessUsage process_usage() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  ProcessUsage out;
  out.resident_bytes = resident_bytes();
  out.peak_resident_bytes = static_cast<uint64_t>(usage.ru_maxrss) * kMaxRssUnit;
  out.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  return out;
}

std::string executable_path() {
  std::array<char, 4096> path{};
#ifdef __APPLE__
  auto size = static_cast<uint32_t>(path.size());
  const bool told = _NSGetExecutablePath(path.data(), &size) == 0;
#else
  const bool told = readlink("/proc/self/exe", path.data(), path.size() - 1) > 0;
#endif
  if (!told) throw_error<Error>("process.path", "the system does not tell this program's path");
  return path.data();
}

}  // namespace krserve
