// Command ring: what acquire and commit cost the host, how long a full ring keeps it waiting beyond
// the device's own time, and how long the device is idle between the steps of a model at batch 1.
//
//   ring_bench [--model DIR] [--threads N] [--repeat N] [--tokens N] [--json FILE]
#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/log.h"
#include "base/units.h"
#include "device/cpu/cpu_device.h"
#include "engine/engine.h"
#include "runtime/command_ring/command_ring.h"

namespace krserve {
namespace {

using Json = nlohmann::json;
using runtime::CommandRing;
using runtime::RingSlot;
using runtime::RingStatistics;

constexpr uint32_t kSizes[] = {2, 3, 4};
// Commands of the step whose commit is timed: about those of a small model.
constexpr uint32_t kCommands = 64;
constexpr uint32_t kCostSteps = 4000;
constexpr uint32_t kSteadySteps = 1000;
// Filled by one step of the steady run: some 100 us of device time.
constexpr uint64_t kSteadyBytes = uint64_t{1} << 20;

struct Options {
  std::string model = "models/tiny";
  std::string json_file;
  uint32_t threads = 0;
  uint32_t repeat = 5;
  uint32_t tokens = 200;
};

Options parse(int argc, char** argv) {
  Options out;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    const std::string value = argv[i + 1];
    if (name == "--model") {
      out.model = value;
    } else if (name == "--json") {
      out.json_file = value;
    } else if (name == "--threads") {
      out.threads = static_cast<uint32_t>(std::stoul(value));
    } else if (name == "--repeat") {
      out.repeat = std::max(1U, static_cast<uint32_t>(std::stoul(value)));
    } else if (name == "--tokens") {
      out.tokens = static_cast<uint32_t>(std::stoul(value));
    } else {
      throw UsageError("ring_bench.options", "unknown option " + name);
    }
  }
  return out;
}

CommandBufferRingConfig ring_config(uint32_t size) {
  CommandBufferRingConfig config;
  config.enabled = true;
  config.ring_size = size;
  return config;
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1))];
}

Json spread(const std::vector<double>& values) {
  return {{"median", quantile(values, 0.5)},
          {"min", quantile(values, 0)},
          {"max", quantile(values, 1)}};
}

void encode(CommandBuffer& commands, const Buffer& like, const BufferView& data) {
  for (uint32_t i = 0; i < kCommands; ++i) {
    commands.fill(data.sub(0, like.size_bytes()), static_cast<uint8_t>(i));
    commands.barrier();
  }
}

struct Cost {
  std::vector<double> acquire_us, recording_us, commit_us, together_us;
};

// Times one step's way through the ring while its slot is free; the device's time is not in it.
Cost ring_cost(const std::shared_ptr<Device>& device, uint32_t steps) {
  CommandRing ring(device, device->new_queue(QueueKind::kCompute), ring_config(3));
  const auto data = device->new_buffer(64, Storage::kShared);
  Cost cost;
  TimelinePoint last;
  for (uint32_t i = 0; i < steps; ++i) {
    if (!ring.next_is_free()) last.wait(kNoTimeout);
    const uint64_t begin = now_ns();
    const RingSlot slot = ring.acquire();
    const uint64_t acquired = now_ns();
    auto commands = ring.recording(slot, 1);
    const uint64_t found = now_ns();
    const bool replayed = commands != nullptr;
    if (!replayed) {
      commands = ring.begin_recording(slot, 1, "step");
      encode(*commands, *data, whole(*data));
    }
    const uint64_t before = now_ns();
    last = ring.commit(slot, commands, {}, replayed, false);
    const uint64_t end = now_ns();
    if (!replayed) continue;
    const auto us = [](uint64_t ns) { return static_cast<double>(ns) / 1e3; };
    cost.acquire_us.push_back(us(acquired - begin));
    cost.recording_us.push_back(us(found - acquired));
    cost.commit_us.push_back(us(end - before));
    cost.together_us.push_back(us(end - begin));
    if (i % 64 == 0) ring.take_completed();
  }
  last.wait(kNoTimeout);
  return cost;
}

// The same step without a ring: encoded afresh and committed.
std::vector<double> baseline_cost_us(const std::shared_ptr<Device>& device, uint32_t steps) {
  const auto queue = device->new_queue(QueueKind::kCompute);
  const auto data = device->new_buffer(64, Storage::kShared);
  const auto timeline = device->new_timeline();
  std::vector<double> out;
  for (uint32_t i = 1; i <= steps; ++i) {
    const uint64_t begin = now_ns();
    const auto commands = queue->begin(CommandBufferUse::kOnce, "step");
    encode(*commands, *data, whole(*data));
    const TimelinePoint end{timeline, i};
    queue->commit(commands, {}, {&end, 1});
    out.push_back(static_cast<double>(now_ns() - begin) / 1e3);
    end.wait(kNoTimeout);
  }
  return out;
}

// The host has nothing else to do: it waits for a slot in every acquire().
RingStatistics steady(const std::shared_ptr<Device>& device, uint32_t size) {
  CommandRing ring(device, device->new_queue(QueueKind::kCompute), ring_config(size));
  const auto data = device->new_buffer(kSteadyBytes, Storage::kShared);
  TimelinePoint last;
  for (uint32_t i = 0; i < kSteadySteps; ++i) {
    const RingSlot slot = ring.acquire();
    auto commands = ring.recording(slot, 1);
    const bool replayed = commands != nullptr;
    if (!replayed) {
      commands = ring.begin_recording(slot, 1, "step");
      commands->fill(whole(*data), 1);
    }
    last = ring.commit(slot, commands, {}, replayed, false);
    ring.take_completed();
  }
  last.wait(kNoTimeout);
  ring.take_completed();
  return ring.statistics();
}

// One request at a time, the whole engine around the ring.
RingStatistics decode(const Options& options, const std::shared_ptr<Device>& device,
                      uint32_t size) {
  RuntimeConfig config;
  auto& m = config.metal_optimizations;
  m.enabled = m.memory_pool.enabled = m.blit_queue.enabled = true;
  m.graceful_fallback = false;
  m.memory_pool.heap_size_mb = 64;
  m.memory_pool.num_heaps = 1;
  m.memory_pool.warmup_sizes = {};
  m.command_buffer_ring = ring_config(size);
  config.engine.parallel = 1;
  const auto engine = engine::Engine::create(config, options.model, {}, device);
  std::mutex mutex;
  std::condition_variable changed;
  const auto generate = [&](uint32_t tokens) {
    engine::Request request;
    request.prompt = {1, 2, 3, 4, 5, 6, 7, 8};
    request.sampling.temperature = 0;
    request.max_tokens = tokens;
    request.ignore_eos = true;
    bool done = false;
    engine->submit(std::move(request), [&](engine::Chunk&& chunk) {
      if (!chunk.finish) return;
      const std::lock_guard lock(mutex);
      done = true;
      changed.notify_all();
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return done; });
  };
  generate(16);
  engine->reset_statistics();
  generate(options.tokens);
  return engine->statistics().ring;
}

struct Collected {
  std::vector<double> gap_p50_us, gap_p99_us, avg_wait_ms, avg_blocked_ms, reuse_rate;
  std::array<std::vector<double>, runtime::kGapCauses> cause_ms;

  void add(const RingStatistics& s) {
    gap_p50_us.push_back(s.gap_p50_us);
    gap_p99_us.push_back(s.gap_p99_us);
    avg_wait_ms.push_back(s.avg_wait_ms);
    avg_blocked_ms.push_back(s.avg_blocked_ms);
    reuse_rate.push_back(s.reuse_rate);
    for (size_t i = 0; i < cause_ms.size(); ++i) cause_ms[i].push_back(s.gaps[i].total_ms);
  }
  Json json() const {
    Json out = {{"gap_p50_us", spread(gap_p50_us)},
                {"gap_p99_us", spread(gap_p99_us)},
                {"avg_wait_ms", spread(avg_wait_ms)},
                {"avg_blocked_ms", spread(avg_blocked_ms)},
                {"reuse_rate", spread(reuse_rate)}};
    for (size_t i = 0; i < cause_ms.size(); ++i) {
      out["gap_ms_by_cause"][to_string(static_cast<runtime::GapCause>(i))] = spread(cause_ms[i]);
    }
    return out;
  }
  void print(const char* what, uint32_t size) const {
    std::printf(
        "%-18s ring %u: gap p50 %7.2f us  p99 %8.2f us   wait %.4f ms of %.4f blocked   "
        "reuse %.1f %%\n",
        what, size, quantile(gap_p50_us, 0.5), quantile(gap_p99_us, 0.5),
        quantile(avg_wait_ms, 0.5), quantile(avg_blocked_ms, 0.5), quantile(reuse_rate, 0.5) * 100);
  }
};

Json measure_cost(const Options& options, const std::shared_ptr<Device>& device) {
  std::vector<double> together, together_p99, acquire, recording, commit, baseline;
  ring_cost(device, kCostSteps / 4);
  for (uint32_t i = 0; i < options.repeat; ++i) {
    const Cost cost = ring_cost(device, kCostSteps);
    together.push_back(quantile(cost.together_us, 0.5));
    together_p99.push_back(quantile(cost.together_us, 0.99));
    acquire.push_back(quantile(cost.acquire_us, 0.5));
    recording.push_back(quantile(cost.recording_us, 0.5));
    commit.push_back(quantile(cost.commit_us, 0.5));
    baseline.push_back(quantile(baseline_cost_us(device, kCostSteps), 0.5));
  }
  std::printf(
      "host cost of a step, p50: ring %.2f us (acquire %.2f, find %.2f, commit %.2f), "
      "p99 %.2f us; without ring %.2f us (%u commands encoded afresh)\n",
      quantile(together, 0.5), quantile(acquire, 0.5), quantile(recording, 0.5),
      quantile(commit, 0.5), quantile(together_p99, 0.5), quantile(baseline, 0.5), kCommands);
  return {{"p50_us", spread(together)},        {"p99_us", spread(together_p99)},
          {"acquire_p50_us", spread(acquire)}, {"recording_p50_us", spread(recording)},
          {"commit_p50_us", spread(commit)},   {"without_ring_p50_us", spread(baseline)},
          {"commands_per_step", kCommands},    {"steps", kCostSteps}};
}

// All ring sizes take turns in every round.
Json measure_sizes(const char* what, uint32_t repeat,
                   const std::function<RingStatistics(uint32_t)>& run) {
  std::array<Collected, std::size(kSizes)> all;
  for (uint32_t round = 0; round < repeat; ++round) {
    for (size_t i = 0; i < std::size(kSizes); ++i) all[i].add(run(kSizes[i]));
  }
  Json out;
  for (size_t i = 0; i < std::size(kSizes); ++i) {
    all[i].print(what, kSizes[i]);
    out["ring_size_" + std::to_string(kSizes[i])] = all[i].json();
  }
  return out;
}

std::string now_text() {
  std::array<char, 32> date{};
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  std::strftime(date.data(), date.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return date.data();
}

int run(int argc, char** argv) {
  const Options options = parse(argc, argv);
  set_log_level(LogLevel::kError);
  const auto device = make_cpu_device({.threads = options.threads, .simd_level = {}});
  std::printf("%s\n", device->info().name.c_str());
  Json result = {
      {"benchmark", "command ring"},
      {"machine", device->info().name},
      {"date", now_text()},
      {"repeat", options.repeat},
      {"bars",
       {{"host_cost_p50_us", 5}, {"reuse_rate", 0.9}, {"avg_wait_ms", 0.1}, {"gap_p50_us", 50}}}};
  std::string command = "ring_bench";
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]) == "--json") {
      ++i;
    } else {
      command += std::string(" ") + argv[i];
    }
  }
  result["command"] = command;
  result["host_cost"] = measure_cost(options, device);
  result["steady"] = measure_sizes("steps of 1 MiB", options.repeat,
                                   [&](uint32_t size) { return steady(device, size); });
  result["decode_batch_1"] = measure_sizes("decode, batch 1", options.repeat, [&](uint32_t size) {
    return decode(options, device, size);
  });
  if (options.json_file.empty()) return 0;
  std::ofstream file(options.json_file);
  file << result.dump(2) << '\n';
  file.close();
  if (!file) throw_error<Error>("ring_bench.write", "{} could not be written", options.json_file);
  return 0;
}

}  // namespace
}  // namespace krserve

int main(int argc, char** argv) {
  try {
    return krserve::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
