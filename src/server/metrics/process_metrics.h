// Memory and CPU time of this process, under the names of Prometheus' client libraries.
#pragma once

#include "base/process.h"
#include "server/metrics/prometheus_writer.h"

namespace krserve::server {

void write_process_metrics(PrometheusWriter& writer, const ProcessUsage& usage);

}  // namespace krserve::server
