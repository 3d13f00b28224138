// Growing sizes: requests whose lengths rise, the pattern that makes caching allocators keep far
// more than is in use.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

namespace krserve::bench {

struct GrowthOptions {
  uint64_t requests = 100000;
  uint64_t at_once = 128;
  int64_t heap_mb = 64;
  int64_t longest_mb = 8;
};

// Each request has a KV block that is replaced by one of twice the size as it goes on, and a few
// small blocks; lengths rise from 1/64 of the longest to the longest. The pool may grow.
nlohmann::json run_growth(const GrowthOptions& options);

}  // namespace krserve::bench
