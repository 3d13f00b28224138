// What the blit queue's benches share: options, spread of repeats, JSON.
#pragma once

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "device/device.h"

namespace krserve::bench {

using Json = nlohmann::ordered_json;

struct Options {
  std::filesystem::path model_dir;
  std::string device = "cpu";
  uint32_t threads = 0;
  int repeats = 7;
  int steps = 60;             // of a decode run
  uint64_t stream_mb = 1024;  // KV pages moved each way
  uint64_t list_blocks = 32;  // of which so many go in one transfer
  std::vector<int64_t> paces_mb_per_s = {0, 200, 800, 1048576};
};

inline Json spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  const double median = n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
  return {{"median", median}, {"min", values.front()}, {"max", values.back()}};
}

std::shared_ptr<Device> open_device(const Options& options);

// Rate of loading a model beside the sequential read rate of its file.
Json run_load(const Options& options);
// Blocks streamed to and from the device while a model decodes.
Json run_overlap(const Options& options);
// KV pages streamed out of and into device memory, from and to pinned memory, while a model
// decodes.
Json run_kv_stream(const Options& options);
// Latency of small transfers, and what coalescing gains.
Json run_small(const Options& options);

}  // namespace krserve::bench
