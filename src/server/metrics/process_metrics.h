// Memory and CPU time of this process, under the names of Prometheus' client libraries.
#pragma once

#include <optional>

#include "server/metrics/prometheus_writer.h"

namespace krserve::server {

struct ProcessUsage {
  std::optional<double> resident_bytes;  // now; none on systems without /proc (macOS)
  double cpu_seconds = 0;                // user and system
};

ProcessUsage process_usage();
void write_process_metrics(PrometheusWriter& writer, const ProcessUsage& usage);

}  // namespace krserve::server
