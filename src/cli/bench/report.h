// Medians and spreads, and the facts about machine and command that every result carries.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "device/device.h"
#include "engine/statistics.h"

namespace krserve::cli {

struct Spread {
  double median = 0;
  double min = 0;
  double max = 0;
};

// Of at least one value.
Spread spread_of(std::vector<double> values);
nlohmann::json to_json(const Spread& spread);

// {"pool": {...}, "blit": {...}, "ring": {...}} with the field names of runtime/statistics.h.
nlohmann::json statistics_json(const engine::EngineStatistics& statistics);

// Peak resident memory of this process in MiB.
double peak_rss_mb();

// Best of several passes over `bytes` of memory, in GB/s (10^9 bytes).
double measure_read_bandwidth(Device& device, uint64_t bytes);

// "date", "machine", "command", "version".
void add_provenance(nlohmann::json& result, const Device& device, const std::string& command);

// Writes the file if there is a path. Throws Error if it cannot be written.
void write_result(const nlohmann::json& result, const std::string& path);

}  // namespace krserve::cli
