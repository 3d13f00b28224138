// blit_bench: load rate, overlap with decode, and small transfers of the blit queue.
#include "blit/blit_bench.h"

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>
#include <ctime>
#include <fstream>

#include "base/error.h"
#include "base/log.h"

namespace krserve::bench {
namespace {

std::string now_utc() {
  std::array<char, 32> text{};
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text.data();
}

int run(int argc, char** argv) {
  Options options;
  std::string mode = "all";
  std::string json;
  CLI::App app("Benches of the blit queue");
  app.add_option("--mode", mode, "What to measure")
      ->check(CLI::IsMember({"all", "load", "overlap", "small", "kv"}));
  app.add_option("-m,--model", options.model_dir, "Model folder (load, overlap, kv)");
  app.add_option("--device", options.device, "Device of overlap and kv: cpu or cuda");
  app.add_option("--stream-mb", options.stream_mb, "KV pages moved each way (kv)")
      ->check(CLI::PositiveNumber);
  app.add_option("--list-blocks", options.list_blocks, "KV pages of one transfer (kv)")
      ->check(CLI::PositiveNumber);
  app.add_option("--threads", options.threads, "CPU workers; 0 = all cores");
  app.add_option("--repeats", options.repeats, "Interleaved repeats")->check(CLI::PositiveNumber);
  app.add_option("--steps", options.steps, "Decode steps of a run")->check(CLI::PositiveNumber);
  app.add_option("--pace", options.paces_mb_per_s,
                 "background_mb_per_s to try: 0 = by device, 1048576 = in effect no limit");
  app.add_option("--json", json, "Also write the result there");
  CLI11_PARSE(app, argc, argv);
  set_log_level(LogLevel::kWarn);

  Json result = {{"bench", "blit_bench"},
                 {"date", now_utc()},
                 {"machine", open_device(options)->info().name},
                 {"command", "blit_bench --mode " + mode + " --device " + options.device +
                                 " --model " + options.model_dir.filename().string() +
                                 " --repeats " + std::to_string(options.repeats) + " --steps " +
                                 std::to_string(options.steps)},
                 {"repeats", options.repeats}};
  const auto wanted = [&](const char* name) { return mode == "all" || mode == name; };
  if (wanted("kv")) result["kv"] = run_kv_stream(options);
  if (wanted("load")) result["load"] = run_load(options);
  if (wanted("overlap")) result["overlap"] = run_overlap(options);
  if (wanted("small")) result["small"] = run_small(options);
  std::printf("%s\n", result.dump(2).c_str());
  if (!json.empty()) std::ofstream(json) << result.dump(2) << '\n';
  return 0;
}

}  // namespace

std::shared_ptr<Device> open_device(const Options& options) {
  return make_device({.backend = options.device, .threads = options.threads});
}

}  // namespace krserve::bench

int main(int argc, char** argv) {
  try {
    return krserve::bench::run(argc, argv);
  } catch (const krserve::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
