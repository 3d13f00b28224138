// The load that every bench mode puts on an engine: a batch of equal requests with random prompts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace krserve::cli {

struct Workload {
  uint32_t batch = 1;
  uint32_t prompt_tokens = 128;
  uint32_t gen_tokens = 128;
  uint64_t seed = 1;  // of the prompts; generation is greedy and ignores end-of-sequence
};

struct WorkloadResult {
  double decode_tokens_per_s = 0;   // while all sequences of the batch were decoding
  double total_tokens_per_s = 0;    // generated tokens / whole time, prefill included
  double prefill_tokens_per_s = 0;  // prompt tokens / time to the last first token
  double ttft_ms = 0;               // mean over the batch
  uint64_t token_hash = 0;          // FNV-1a over all generated ids, request by request
  double device_utilization = 0;
  double allocations_per_token = 0;  // device allocations while decoding / tokens
};

// Runs it once and waits for the end. Throws DeviceError if a request fails.
WorkloadResult run_workload(engine::Engine& engine, const Workload& workload);

// A configuration with slots, context and KV cache for the workload.
RuntimeConfig config_for(RuntimeConfig config, const std::filesystem::path& model_dir,
                         const Workload& workload);

// "0x0123456789abcdef"
std::string format_hash(uint64_t hash);

}  // namespace krserve::cli
