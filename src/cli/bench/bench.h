// The modes of `krserve bench`.
#pragma once

#include <memory>
#include <string>

#include "cli/bench/workload.h"
#include "cli/options.h"
#include "device/device.h"

namespace krserve::cli {

struct BenchOptions {
  CommonOptions common;
  std::string mode = "decode";
  Workload workload;
  uint32_t repeat = 5;
  double max_seconds = 0;  // no run (ablate: no round) begins after that; 0 = no limit
  std::string json_file;
  std::string trace_file;
  std::string command_line;  // as typed, for the result
};

int bench_decode(const BenchOptions& options, const LoadedConfig& config);
int bench_prefill(const BenchOptions& options, const LoadedConfig& config);
int bench_load(const BenchOptions& options, const LoadedConfig& config);
int bench_ablate(const BenchOptions& options, const LoadedConfig& config);
// Whether options.max_seconds have passed since then.
bool over(const BenchOptions& options, uint64_t start_ns);
// The configured device.
std::shared_ptr<Device> open_device(const LoadedConfig& config);
// Writes options.trace_file, if there is one, from a run of its own.
void record_trace(const BenchOptions& options, const LoadedConfig& config);

}  // namespace krserve::cli
