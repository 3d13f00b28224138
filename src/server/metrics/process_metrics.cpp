#include "server/metrics/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

namespace krserve::server {
namespace {

std::optional<double> resident_bytes() {
  // proc(5): size resident ..., in pages.
  std::ifstream file("/proc/self/statm");
  double size = 0;
  double resident = 0;
  if (!(file >> size >> resident)) return std::nullopt;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
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
  if (usage.resident_bytes) {
    writer.gauge("process_resident_memory_bytes", "Resident memory size in bytes.",
                 *usage.resident_bytes);
  }
  writer.counter("process_cpu_seconds_total", "User and system CPU time in seconds.",
                 usage.cpu_seconds);
}

}  // namespace krserve::server
