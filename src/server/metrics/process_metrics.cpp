#include "server/metrics/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#ifdef __APPLE__
#include <mach/mach.h>
#endif

namespace krserve::server {
namespace {

double resident_bytes() {
#ifdef __APPLE__
  mach_task_basic_info_data_t info;
  mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
  const kern_return_t result = task_info(mach_task_self(), MACH_TASK_BASIC_INFO,
                                         reinterpret_cast<task_info_t>(&info), &count);
  return result == KERN_SUCCESS ? static_cast<double>(info.resident_size) : 0;
#else
  // proc(5): size resident ..., in pages.
  std::ifstream file("/proc/self/statm");
  double size = 0;
  double resident = 0;
  if (!(file >> size >> resident)) return 0;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
#endif
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

}  // namespace

ProcessUsage process_usage() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return {.resident_bytes = resident_bytes(),
          .cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime)};
}

void write_process_metrics(PrometheusWriter& writer, const ProcessUsage& usage) {
  writer.gauge("process_resident_memory_bytes", "Resident memory size in bytes.",
               usage.resident_bytes);
  writer.counter("process_cpu_seconds_total", "User and system CPU time in seconds.",
                 usage.cpu_seconds);
}

}  // namespace krserve::server
