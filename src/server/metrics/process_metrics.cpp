#include "server/metrics/process_metrics.h"

namespace krserve::server {

void write_process_metrics(PrometheusWriter& writer, const ProcessUsage& usage) {
  if (usage.resident_bytes > 0) {
    writer.gauge("process_resident_memory_bytes", "Resident memory size in bytes.",
                 static_cast<double>(usage.resident_bytes));
  }
  writer.counter("process_cpu_seconds_total", "User and system CPU time in seconds.",
                 usage.cpu_seconds);
}

}  // namespace krserve::server
