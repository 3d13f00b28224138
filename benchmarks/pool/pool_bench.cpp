// pool_bench: the memory pool against malloc, mimalloc, jemalloc and plain device allocation, side
// by side in one run; prints a table and writes JSON.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "base/units.h"
#include "pool/growth.h"
#include "pool/peers.h"
#include "pool/replay.h"
#include "pool/workloads.h"

namespace krserve::bench {
namespace {

using Json = nlohmann::json;

struct Options {
  std::vector<std::string> logs;
  std::string out;
  uint64_t holes = 65536;
  uint64_t operations = 200000;
  GrowthOptions growth;
  uint32_t repeats = 5;
};

constexpr uint64_t kSlowOperations = 4000;  // of plain device allocation

struct Spread {
  double median, min, max;
};

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

Json to_json(const Spread& s) {
  return {{"median", s.median}, {"min", s.min}, {"max", s.max}};
}

std::string processor() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", std::gmtime(&now));
  return text;
}

std::vector<std::unique_ptr<Peer>> all_peers(std::vector<std::string>& missing) {
  std::vector<std::unique_ptr<Peer>> peers;
  peers.push_back(make_pool(1024, 4));  // never full
  missing.clear();
  for (auto& peer : make_mallocs(missing)) peers.push_back(std::move(peer));
  peers.push_back(make_direct());
  return peers;
}

Json holes_json(const Options& options, std::vector<std::string>& missing) {
  Json out;
  std::printf("\nalloc + free with %llu holes, us\n%-8s %-9s %28s %28s\n",
              static_cast<unsigned long long>(options.holes), "mix", "", "same block p50 p99 p99.9",
              "random block p50 p99 p99.9");
  for (const Mix& mix : mixes()) {
    std::vector<std::unique_ptr<Peer>> peers = all_peers(missing);
    std::vector<std::vector<HolesResult>> results(peers.size());
    for (uint32_t repeat = 0; repeat < options.repeats; ++repeat) {
      for (size_t i = 0; i < peers.size(); ++i) {
        const bool slow = peers[i]->slow();
        // Holes of large blocks: fewer, or they would not fit the machine.
        const uint64_t holes = mix.max_bytes > 64 * kKiB ? options.holes / 8 : options.holes;
        results[i].push_back(run_holes(*peers[i], mix, slow ? 1024 : holes,
                                       slow ? kSlowOperations : options.operations, repeat));
      }
    }
    for (size_t i = 0; i < peers.size(); ++i) {
      Json& entry = out[mix.name][peers[i]->name()];
      entry["holes"] = results[i].front().holes;
      const auto add = [&](const char* name, Percentiles HolesResult::* part) {
        const auto of = [&](double Percentiles::* value) {
          std::vector<double> values;
          for (const HolesResult& r : results[i]) values.push_back(r.*part.*value);
          return spread_of(values);
        };
        entry[name] = {{"p50_us", to_json(of(&Percentiles::p50_us))},
                       {"p99_us", to_json(of(&Percentiles::p99_us))},
                       {"p999_us", to_json(of(&Percentiles::p999_us))},
                       {"mean_us", to_json(of(&Percentiles::mean_us))}};
        std::printf(" %8.3f %8.3f %9.3f ", of(&Percentiles::p50_us).median,
                    of(&Percentiles::p99_us).median, of(&Percentiles::p999_us).median);
      };
      std::printf("%-8s %-9s ", mix.name.c_str(), peers[i]->name().c_str());
      add("same_block", &HolesResult::pair);
      add("random_block", &HolesResult::replace);
      std::printf("\n");
    }
  }
  return out;
}

Json threads_json(const Options& options, std::vector<std::string>& missing) {
  Json out;
  // Two plain threads beside each other: how much of two processors this machine gives at the time.
  std::printf("\nreplacements per second and thread, millions\n%-8s %-9s %9s %9s %9s %9s %9s\n",
              "mix", "", "1 thread", "2 threads", "ratio", "plain", "of plain");
  for (const Mix& mix : mixes()) {
    for (auto& peer : all_peers(missing)) {
      const uint64_t operations = peer->slow() ? kSlowOperations : options.operations * 5;
      std::vector<double> one;
      std::vector<double> two;
      std::vector<double> ratio;
      std::vector<double> plain;
      std::vector<double> relative;
      for (uint32_t repeat = 0; repeat < options.repeats; ++repeat) {
        one.push_back(run_threads(*peer, mix, 1, operations) / 1e6);
        two.push_back(run_threads(*peer, mix, 2, operations) / 1e6);
        ratio.push_back(two.back() / one.back());
        const double alone = run_plain_threads(1);
        plain.push_back(run_plain_threads(2) / alone);
        relative.push_back(ratio.back() / std::min(1.0, plain.back()));
      }
      out[mix.name][peer->name()] = {{"one_mops", to_json(spread_of(one))},
                                     {"two_mops_per_thread", to_json(spread_of(two))},
                                     {"two_by_one", to_json(spread_of(ratio))},
                                     {"plain_two_by_one", to_json(spread_of(plain))},
                                     {"two_by_one_of_plain", to_json(spread_of(relative))}};
      std::printf("%-8s %-9s %9.2f %9.2f %9.2f %9.2f %9.2f\n", mix.name.c_str(),
                  peer->name().c_str(), spread_of(one).median, spread_of(two).median,
                  spread_of(ratio).median, spread_of(plain).median, spread_of(relative).median);
    }
  }
  return out;
}

Json replay_json(const Options& options, std::vector<std::string>& missing) {
  Json out;
  for (const std::string& path : options.logs) {
    const auto log = runtime::read_allocation_log(path);
    const std::string name = std::filesystem::path(path).filename().string();
    Json& entry = out[name];
    entry["log"] = describe_log(log);
    std::printf("\nreplay of %s (%zu events)\n%-9s %26s %26s %9s %11s\n", name.c_str(), log.size(),
                "", "allocate us p50 p99", "free us p50 p99", "hit rate", "exhaustions");
    // The seed's default pool.
    std::vector<std::unique_ptr<Peer>> peers;
    peers.push_back(make_pool(256, 4));
    missing.clear();
    for (auto& peer : make_mallocs(missing)) peers.push_back(std::move(peer));
    peers.push_back(make_direct());
    for (auto& peer : peers) {
      const Json result = run_replay(*peer, log, options.operations);
      entry[peer->name()] = result;
      const auto value = [&](const char* part, const char* key) {
        return result.contains(part) ? result[part][key].get<double>() : 0.0;
      };
      std::printf("%-9s %12.3f %13.3f %12.3f %13.3f", peer->name().c_str(),
                  value("allocate", "p50_us"), value("allocate", "p99_us"), value("free", "p50_us"),
                  value("free", "p99_us"));
      if (peer->name() == "pool") {
        std::printf(" %8.1f%% %11d", 100 * result["hit_rate"].get<double>(),
                    result["exhaustion_count"].get<int>());
      }
      std::printf("\n");
    }
  }
  return out;
}

// The shape asked for first, then others: how far blocks fill heaps decides the ratio.
Json growth_json(const Options& options) {
  std::vector<GrowthOptions> shapes(4, options.growth);
  shapes[1].heap_mb *= 2;
  shapes[2].at_once *= 2;
  shapes[2].longest_mb = std::max<int64_t>(1, shapes[2].longest_mb / 2);
  shapes[3].longest_mb *= 2;
  Json out;
  std::printf("\ngrowing sizes, %llu requests\n%8s %8s %11s %12s %9s %7s\n",
              static_cast<unsigned long long>(options.growth.requests), "heap MB", "at once",
              "longest MB", "retained MB", "live MB", "ratio");
  for (const GrowthOptions& shape : shapes) {
    const Json one = run_growth(shape);
    std::printf("%8d %8d %11d %12.0f %9.0f %7.3f\n", one["heap_mb"].get<int>(),
                one["at_once"].get<int>(), one["longest_mb"].get<int>(),
                one["retained_bytes"].get<double>() / kMiB, one["live_bytes"].get<double>() / kMiB,
                one["retained_by_live"].get<double>());
    out.push_back(one);
  }
  return out;
}

// The bars against what was measured.
Json bars_json(const Json& all) {
  Json out;
  const auto bar = [&](const char* name, double value, double limit, bool at_most) {
    const bool met = at_most ? value <= limit : value >= limit;
    out[name] = {{"value", value}, {at_most ? "at_most" : "at_least", limit}, {"met", met}};
    std::printf("%-44s %9.3f  %s %-7.2f %s\n", name, value, at_most ? "<=" : ">=", limit,
                met ? "met" : "MISSED");
  };
  std::printf("\nbars\n");
  const Json& mixed = all["holes"]["mixed"]["pool"];
  for (const char* how : {"same_block", "random_block"}) {
    const std::string name = std::string("alloc+free, 65k holes, ") + how;
    bar((name + ", p50 us").c_str(), mixed[how]["p50_us"]["median"], 0.3, true);
    bar((name + ", p99 us").c_str(), mixed[how]["p99_us"]["median"], 1.5, true);
  }
  bar("2 threads against 1, rate of a thread",
      all["threads"]["mixed"]["pool"]["two_by_one_of_plain"]["median"], 0.7, false);
  bar("growing sizes, retained / live", all["growth"][0]["retained_by_live"], 1.3, true);
  for (const auto& [name, entry] : all["replay"].items()) {
    bar((name + ", hit rate").c_str(), entry["pool"]["hit_rate"], 0.95, false);
    bar((name + ", exhaustions").c_str(), entry["pool"]["exhaustion_count"], 0, true);
  }
  return out;
}

Json run(const Options& options, const std::string& command) {
  std::vector<std::string> missing;
  Json out;
  out["command"] = command;
  out["date"] = today();
  out["machine"] = {{"processor", processor()}, {"threads", std::thread::hardware_concurrency()}};
  out["clock_overhead_ns"] = clock_overhead_ns();
  out["repeats"] = options.repeats;
  out["holes"] = holes_json(options, missing);
  out["threads"] = threads_json(options, missing);
  out["replay"] = replay_json(options, missing);
  out["growth"] = growth_json(options);
  out["bars"] = bars_json(out);
  out["missing_peers"] = missing;
  for (const std::string& one : missing) std::printf("not compared: %s\n", one.c_str());
  return out;
}

}  // namespace

// jemalloc keeps state in static thread-local storage, of which a library loaded late gets little
// unless the loader was told at the start of the process.
void make_room_for_libraries(char** argv) {
#if defined(__linux__)
  constexpr const char* kName = "GLIBC_TUNABLES";
  if (std::getenv(kName) != nullptr) return;
  setenv(kName, "glibc.rtld.optional_static_tls=16384", 0);
  execv("/proc/self/exe", argv);  // comes back only if it failed: jemalloc may then be missing
#else
  (void)argv;
#endif
}

}  // namespace krserve::bench

int main(int argc, char** argv) {
  krserve::bench::Options options;
  CLI::App app{"Measures the memory pool against malloc, mimalloc, jemalloc and the device"};
  app.add_option("logs", options.logs, "Allocation logs to replay")->check(CLI::ExistingFile);
  app.add_option("--json", options.out, "Write the results to this file");
  app.add_option("--holes", options.holes, "Holes in the heap")->check(CLI::PositiveNumber);
  app.add_option("--operations", options.operations, "Timed operations")
      ->check(CLI::Range(1000, 100000000));
  app.add_option("--requests", options.growth.requests, "Requests of growing length")
      ->check(CLI::Range(1000, 10000000));
  app.add_option("--at-once", options.growth.at_once, "Of those, running together")
      ->check(CLI::Range(1, 10000));
  app.add_option("--heap-mb", options.growth.heap_mb, "Heap size for them")
      ->check(CLI::Range(1, 65536));
  app.add_option("--longest-mb", options.growth.longest_mb, "KV block of the longest of them")
      ->check(CLI::Range(1, 65536));
  app.add_option("--repeats", options.repeats, "Repeats; the median is reported")
      ->check(CLI::Range(1, 100));
  CLI11_PARSE(app, argc, argv);
  krserve::bench::make_room_for_libraries(argv);
  std::string command = "pool_bench";
  for (int i = 1; i < argc; ++i) command.append(" ").append(argv[i]);
  try {
    const auto result = krserve::bench::run(options, command);
    if (options.out.empty()) return 0;
    std::ofstream file(options.out);
    file << result.dump(2) << "\n";
    if (!file.flush()) throw krserve::Error("pool_bench", options.out + " cannot be written");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
