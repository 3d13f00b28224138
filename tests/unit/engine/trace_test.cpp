// The trace of a short run: it parses, has every track, and agrees with the statistics.
#include "runtime/trace/trace.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "device/cpu/cpu_device.h"
#include "device/fake/fake_device.h"
#include "support/engine_client.h"

namespace krserve::engine {
namespace {

using runtime::TraceEvent;
using runtime::TraceRecorder;
using runtime::TraceTrack;
using test::greedy_request;
using test::small_config;
using test::submit;
using Json = nlohmann::json;

constexpr uint32_t kTokens = 20;

struct TracedRun {
  std::shared_ptr<TraceRecorder> trace = std::make_shared<TraceRecorder>();
  EngineStatistics statistics;
};

// One request; what loading did is left out of both trace and statistics.
TracedRun run(const std::shared_ptr<Device>& device, const RuntimeConfig& config) {
  TracedRun out;
  auto engine = Engine::create(config, test::golden_dir("qwen2-q4-g64"), {}, device, out.trace);
  engine->reset_statistics();
  out.trace->clear();
  submit(*engine, greedy_request({1, 2, 3}, kTokens)).wait();
  engine->drain(30'000'000'000);
  out.statistics = engine->statistics();
  engine.reset();  // the last copies reach the trace
  return out;
}

std::vector<TraceEvent> on(const TraceRecorder& trace, TraceTrack track, uint32_t slot = 0) {
  std::vector<TraceEvent> out;
  for (const TraceEvent& event : trace.events()) {
    if (event.track == track && event.slot == slot) out.push_back(event);
  }
  return out;
}

double sum_ms(const std::vector<TraceEvent>& events) {
  double ms = 0;
  for (const TraceEvent& event : events) {
    ms += static_cast<double>(event.end_ns - event.start_ns) / 1e6;
  }
  return ms;
}

void expect_no_overlap(const std::vector<TraceEvent>& events, const char* track) {
  for (size_t i = 1; i < events.size(); ++i) {
    EXPECT_LE(events[i - 1].end_ns, events[i].start_ns) << track << ", event " << i;
  }
}

// On one thread a phase lies inside another one or beside it.
void expect_nesting(const std::vector<TraceEvent>& events) {
  std::vector<TraceEvent> open;
  for (const TraceEvent& event : events) {
    while (!open.empty() && open.back().end_ns <= event.start_ns) open.pop_back();
    if (!open.empty()) {
      EXPECT_LE(event.end_ns, open.back().end_ns) << event.name << " in " << open.back().name;
    }
    open.push_back(event);
  }
}

// `queued`: copies go through queues, and the last ones enter the statistics with the next call.
void expect_agreement(const TracedRun& run, bool queued = false) {
  const auto compute = on(*run.trace, TraceTrack::kCompute);
  const auto up = on(*run.trace, TraceTrack::kUpload);
  const auto down = on(*run.trace, TraceTrack::kDownload);
  EXPECT_EQ(compute.size(), kTokens);
  EXPECT_EQ(up.size(), run.statistics.blit.total_uploads);
  EXPECT_EQ(down.size(), run.statistics.blit.total_downloads);
  EXPECT_NEAR(sum_ms(compute), static_cast<double>(run.statistics.device_busy_ns) / 1e6, 1e-9);
  expect_no_overlap(compute, "compute");
  expect_no_overlap(up, "copies to device");
  expect_no_overlap(down, "copies to host");
  if (queued) return;
  EXPECT_NEAR(sum_ms(up), run.statistics.blit.avg_upload_ms * static_cast<double>(up.size()), 1e-9);
  EXPECT_NEAR(sum_ms(down), run.statistics.blit.avg_download_ms * static_cast<double>(down.size()),
              1e-9);
}

RuntimeConfig config_of(bool pool, bool blit, bool ring) {
  return small_config(pool, blit, ring);
}

// One CPU worker that hardly spins: it shares its core with the engine's thread.
std::shared_ptr<Device> traced_device() {
  if (test::backend() != "cpu") return test::open_device();
  return make_cpu_device({.threads = 1, .simd_level = {}, .spin_us = 10});
}

bool queues_copies() {
  return !traced_device()->info().unified_memory;
}

TEST(EngineTrace, HasEveryTrackAndParses) {
  const TracedRun r = run(traced_device(), config_of(true, true, true));
  const Json json = Json::parse(r.trace->json());
  std::map<std::pair<int, int>, std::string> tracks;
  std::set<std::string> used;
  std::set<std::string> phases;
  for (const Json& record : json["traceEvents"]) {
    const std::pair<int, int> place{record["pid"], record["tid"]};
    if (record["name"] == "thread_name") tracks[place] = record["args"]["name"];
    if (record["ph"] != "X") continue;
    used.insert(tracks.at(place));
    if (tracks.at(place) == "engine thread") phases.insert(record["name"]);
    EXPECT_GE(record["ts"].get<double>(), 0);
    EXPECT_GE(record["dur"].get<double>(), 0);
  }
  EXPECT_EQ(used, (std::set<std::string>{"compute", "copies to device", "copies to host", "slot 0",
                                         "slot 1", "slot 2", "engine thread"}));
  for (const char* phase : {"schedule", "acquire", "upload params", "encode", "commit",
                            "wait for step", "read tokens", "process outputs", "detokenize"}) {
    EXPECT_TRUE(phases.contains(phase)) << phase;
  }
  EXPECT_EQ(json["otherData"]["dropped_events"], 0);
}

TEST(EngineTrace, AgreesWithTheStatistics) {
  const TracedRun r = run(traced_device(), config_of(true, true, true));
  expect_agreement(r, queues_copies());
  expect_nesting(on(*r.trace, TraceTrack::kHost));
  // Host and device on one clock: a step starts after its commit began, and ends before its slot's
  // next step is committed.
  const auto compute = on(*r.trace, TraceTrack::kCompute);
  size_t slots = 0;
  for (uint32_t slot = 0; slot < 3; ++slot) {
    const auto in_flight = on(*r.trace, TraceTrack::kSlot, slot);
    expect_no_overlap(in_flight, "a slot");
    for (const TraceEvent& event : in_flight) {
      const TraceEvent& step = compute.at(event.number - compute.front().number);
      EXPECT_EQ(step.number, event.number);
      EXPECT_LE(event.start_ns, step.start_ns);
      EXPECT_EQ(event.end_ns, step.end_ns);
    }
    slots += in_flight.size();
  }
  EXPECT_EQ(slots, kTokens);
}

TEST(EngineTrace, AgreesWithTheStatisticsWhereCopiesAreQueued) {
  FakeOptions options;
  options.unified_memory = false;
  const auto device = std::make_shared<FakeDevice>(options);
  device->set_duration("step", 50'000);
  device->set_duration("upload", 7'000);
  device->set_duration("download", 3'000);
  const TracedRun r = run(device, config_of(false, true, true));
  expect_agreement(r, true);
  const auto all_last = [&](TraceTrack track, uint64_t ns) {
    for (const TraceEvent& event : on(*r.trace, track)) {
      EXPECT_EQ(event.end_ns - event.start_ns, ns);
    }
  };
  all_last(TraceTrack::kCompute, 50'000);
  all_last(TraceTrack::kUpload, 7'000);
  all_last(TraceTrack::kDownload, 3'000);
}

TEST(EngineTrace, WorksWithEverythingOff) {
  const TracedRun r = run(traced_device(), config_of(false, false, false));
  expect_agreement(r);
  EXPECT_TRUE(on(*r.trace, TraceTrack::kSlot).empty());
}

}  // namespace
}  // namespace krserve::engine
