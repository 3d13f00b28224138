// Memory and CPU time of this process, under the names of Prometheus' client libraries.
#pragma once

#include "server/metrics/prometheus_writer.h"

namespace krserve::server {

struct ProcessUsage {
  double resident_bytes = 0;  // now; 0 where the system does not tell
  double cpu_seconds = 0;     // user and system
};

ProcessUsage process_usage();
void write_process_metrics(PrometheusWriter& writer, const ProcessUsage& usage);

}  // namespace krserve::server
