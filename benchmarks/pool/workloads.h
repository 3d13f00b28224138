// The measured workloads: allocation and free with many holes, by one thread and by several.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "pool/peers.h"

namespace krserve::bench {

struct Percentiles {
  double p50_us = 0;
  double p99_us = 0;
  double p999_us = 0;
  double mean_us = 0;
};

// Of times in ns; sorts them.
Percentiles percentiles(std::vector<uint32_t>& ns);
nlohmann::json to_json(const Percentiles& p);

// Sizes of a mix, log-uniform between two bounds.
struct Mix {
  std::string name;
  uint64_t min_bytes;
  uint64_t max_bytes;
};
const std::vector<Mix>& mixes();

struct HolesResult {
  Percentiles pair;     // a block of a random size, taken and given back at once
  Percentiles replace;  // a random old block given back, one of a random size taken
  uint64_t holes = 0;
};

// 2 x `holes` blocks are taken and every second one given back before anything is timed.
HolesResult run_holes(Peer& peer, const Mix& mix, uint64_t holes, uint64_t operations,
                      uint32_t seed);

// Replacements per second and thread, each thread with blocks of its own.
double run_threads(Peer& peer, const Mix& mix, uint32_t threads, uint64_t operations);

// The same for threads that share nothing and call nobody: what the machine gives to them.
double run_plain_threads(uint32_t threads);

// Cost of reading the clock twice, which is in every time above.
double clock_overhead_ns();

}  // namespace krserve::bench
