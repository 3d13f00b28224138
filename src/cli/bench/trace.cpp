// --trace of krserve bench: one more run of the workload, recorded, outside of what is measured.
#include "runtime/trace/trace.h"

#include <algorithm>
#include <cstdio>

#include "cli/bench/bench.h"
#include "cli/bench/report.h"

namespace krserve::cli {

void record_trace(const BenchOptions& options, const LoadedConfig& config) {
  if (options.trace_file.empty()) return;
  const auto model_dir = model_directory(config.values);
  const auto trace = std::make_shared<runtime::TraceRecorder>();
  auto engine = engine::Engine::create(config_for(config.values, model_dir, options.workload),
                                       model_dir, {}, nullptr, trace);
  Workload warm_up = options.workload;
  warm_up.gen_tokens = std::min(warm_up.gen_tokens, 8U);
  run_workload(*engine, warm_up);
  trace->clear();
  run_workload(*engine, options.workload);
  engine.reset();  // the last copies reach the trace
  trace->write(options.trace_file);
  std::fprintf(stderr, "trace of one run: %s (%zu events); open it in ui.perfetto.dev\n",
               options.trace_file.c_str(), trace->events().size());
}

}  // namespace krserve::cli
