#include "cli/bench/report.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <fstream>

#include "base/error.h"
#include "base/process.h"
#include "base/units.h"
#include "kernels/ops/read_bandwidth.h"
#include "runtime/statistics_json.h"
#include "server/version.h"

namespace krserve::cli {

using Json = nlohmann::json;

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  const double median = n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
  return {median, values.front(), values.back()};
}

Json to_json(const Spread& spread) {
  return {{"median", spread.median}, {"min", spread.min}, {"max", spread.max}};
}

namespace {

constexpr uint64_t kBandwidthChunk = 1 * kMiB;

// More than any last-level cache; more still on a device whose passes are over before their launch
// is forgotten.
uint64_t bandwidth_bytes(const DeviceInfo& info) {
  return info.unified_memory ? 512 * kMiB : 4096 * kMiB;
}

}  // namespace

Json statistics_json(const engine::EngineStatistics& statistics) {
  return {{"pool", to_json(statistics.pool)},
          {"blit", to_json(statistics.blit)},
          {"ring", to_json(statistics.ring)}};
}

double peak_rss_mb() {
  return static_cast<double>(process_usage().peak_resident_bytes) / static_cast<double>(kMiB);
}

BandwidthProbe::BandwidthProbe(Device& device)
    : device_(device),
      data_(device.new_buffer(bandwidth_bytes(device.info()), Storage::kPrivate)),
      sums_(device.new_buffer(data_->size_bytes() / kBandwidthChunk * sizeof(float),
                              Storage::kPrivate)),
      queue_(device.new_queue(QueueKind::kCompute)) {
  auto fill = queue_->begin(CommandBufferUse::kOnce, "fill");
  fill->fill(whole(*data_), 1);  // untouched pages would all be one zero page
  queue_->commit(fill, {}, {});
}

double BandwidthProbe::measure(int passes) {
  const std::array views{whole(*data_), whole(*sums_)};
  double best = 0;
  for (int pass = 0; pass < passes; ++pass) {
    auto commands = queue_->begin(CommandBufferUse::kOnce, "read bandwidth");
    commands->dispatch(ops::Op::kReadBandwidth,
                       ops::ReadBandwidthArgs{data_->size_bytes(), kBandwidthChunk}, views);
    const TimelinePoint done{device_.new_timeline(), 1};
    queue_->commit(commands, {}, {&done, 1});
    done.wait(kNoTimeout);
    const Timestamps times = commands->timestamps();
    const double seconds = static_cast<double>(times.end_ns - times.start_ns) / 1e9;
    if (seconds > 0)
      best = std::max(best, static_cast<double>(data_->size_bytes()) / seconds / 1e9);
  }
  return best;
}

void add_provenance(Json& result, const Device& device, const std::string& command) {
  std::array<char, 32> date{};
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  std::strftime(date.data(), date.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  result["date"] = date.data();
  result["machine"] = device.info().name;
  result["backend"] = device.info().backend;
  result["command"] = command;
  result["version"] = server::kVersion;
}

void write_result(const Json& result, const std::string& path) {
  if (path.empty()) return;
  std::ofstream file(path);
  file << result.dump(2) << '\n';
  file.close();
  if (!file) throw_error<Error>("bench.write", "{} could not be written", path);
}

}  // namespace krserve::cli
