// What the blit queue's benches share: options, spread of repeats, JSON.
#pragma once

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

namespace krserve::bench {

using Json = nlohmann::ordered_json;

struct Options {
  std::filesystem::path model_dir;
  uint32_t threads = 0;
  int repeats = 7;
  int steps = 60;  // of a decode run
  std::vector<int64_t> paces_mb_per_s = {0, 200, 800, 1048576};
};

inline Json spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  const double median = n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
  return {{"median", median}, {"min", values.front()}, {"max", values.back()}};
}

// Rate of loading a model beside the sequential read rate of its file.
Json run_load(const Options& options);
// Blocks streamed to and from the device while a model decodes.
Json run_overlap(const Options& options);
// Latency of small transfers, and what coalescing gains.
Json run_small(const Options& options);

}  // namespace krserve::bench
