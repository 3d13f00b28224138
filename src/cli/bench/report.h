// Medians and spreads, and the facts about machine and command that every result carries.
#pragma once

#include <memory>
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

// Reads a buffer of its own on the device, again and again; it is larger than all caches, so that
// passes come from memory.
class BandwidthProbe {
 public:
  explicit BandwidthProbe(Device& device);
  // Best of `passes` passes, in GB/s (10^9 bytes).
  double measure(int passes = 3);

 private:
  Device& device_;
  std::unique_ptr<Buffer> data_;
  std::unique_ptr<Buffer> sums_;
  std::shared_ptr<Queue> queue_;
};

// "date", "machine", "command", "version".
void add_provenance(nlohmann::json& result, const Device& device, const std::string& command);

// Writes the file if there is a path. Throws Error if it cannot be written.
void write_result(const nlohmann::json& result, const std::string& path);

}  // namespace krserve::cli
