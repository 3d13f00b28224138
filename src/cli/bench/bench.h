// The modes of `krserve bench`.
#pragma once

#include <string>

#include "cli/bench/workload.h"
#include "cli/options.h"

namespace krserve::cli {

struct BenchOptions {
  CommonOptions common;
  std::string mode = "decode";
  Workload workload;
  uint32_t repeat = 5;
  std::string json_file;
  std::string trace_file;
  std::string command_line;  // as typed, for the result
};

int bench_decode(const BenchOptions& options, const LoadedConfig& config);
int bench_prefill(const BenchOptions& options, const LoadedConfig& config);
int bench_ablate(const BenchOptions& options, const LoadedConfig& config);
// Writes options.trace_file, if there is one, from a run of its own.
void record_trace(const BenchOptions& options, const LoadedConfig& config);

}  // namespace krserve::cli
