// krserve top without terminal and server: readings, rates, and the lines they become.
#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/top/frame.h"
#include "cli/top/json.h"
#include "cli/top/monitor.h"
#include "cli/top/rates.h"
#include "cli/top/snapshot.h"

namespace krserve::cli {
namespace {

using engine::Grade;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;
using Time = std::chrono::steady_clock::time_point;

constexpr Time kStart{seconds(1000)};

Json metric(const char* name, const char* unit, bool higher, std::array<double, 3> limits,
            const Json& value, const char* remedy = "") {
  Json out = {{"name", name},        {"unit", unit},         {"higher_is_better", higher},
              {"target", limits[0]}, {"warning", limits[1]}, {"critical", limits[2]},
              {"grade", "not read"}, {"value", value}};
  if (*remedy != '\0') out["remedy"] = remedy;
  return out;
}

// Of a server that has run for an hour, in the form of GET /status.
Json status() {
  Json out = Json::parse(R"({
    "version": "0.1.0", "health": "ok", "steps": 4000,
    "process": {"pid": 7, "started_unix_ms": 1700000000000, "uptime_s": 3600,
                "resident_bytes": 104857600, "cpu_s": 50},
    "model": {"name": "tiny", "architecture": "qwen2", "context_length": 4096},
    "requests": {"running": 2, "waiting": 1, "completed": 100, "cancelled": 3, "failed": 0,
                 "preemptions": 0},
    "tokens": {"prompt": 500, "generated": 4000, "discarded": 1},
    "latency": {"time_to_first_token": {"sum_s": 1.0, "count": 100},
                "inter_token": {"sum_s": 8.0, "count": 4000},
                "queue": {"sum_s": 0.1, "count": 100}},
    "kv_cache": {"pages": 200, "pages_used": 50},
    "device": {"busy_ms": 1000, "utilization": 0.3},
    "components": {
      "memory_pool": {"enabled": true, "counters": {
        "total_heaps": 4, "active_heaps": 2, "heap_bytes": 1073741824, "live_bytes": 268435456,
        "on_demand_bytes": 0, "largest_free_block_bytes": 1048576, "utilization": 0.25,
        "fragmentation": 0.1, "live_objects": 9, "total_allocations": 1000,
        "fallback_allocations": 0, "exhaustion_count": 0, "device_allocations": 4}},
      "blit_queue": {"enabled": true, "counters": {
        "total_uploads": 100, "total_downloads": 100, "upload_bytes": 1000, "download_bytes": 400,
        "no_copy_count": 0, "copy_ms": 10, "overlapped_ms": 9, "sync_wait_count": 1,
        "stall_count": 0, "failed_count": 0, "staging_bytes": 67108864, "queue_depth": 3,
        "peak_queue_depth": 5}},
      "command_ring": {"enabled": true, "counters": {
        "ring_size": 3, "total_acquisitions": 4000, "replays": 3900, "wait_ms": 40,
        "wait_events": 300, "max_wait_ms": 2, "timeouts": 0, "rebuilds": 0, "recordings": 9,
        "gap_p50_us": 11.5, "gap_p99_us": 14}}}})");
  Json& components = out["components"];
  components["memory_pool"]["metrics"] = {
      metric("hit_rate", "", true, {0.95, 0.90, 0.80}, 1.0),
      metric("exhaustion_count", "1/h", false, {0, 10, 100}, 0.0)};
  components["blit_queue"]["metrics"] = {metric("overlap_ratio", "", true, {0.80, 0.70, 0.50}, 0.9),
                                         metric("queue_depth", "", false, {8, 12, 16}, 3.0)};
  components["command_ring"]["metrics"] = {
      metric("reuse_rate", "", true, {0.90, 0.80, 0.70}, 0.975),
      metric("avg_wait_ms", "ms", false, {0.1, 1, 5}, 0.01)};
  return out;
}

// The same server `after` seconds later, with 800 tokens more.
Json later_status() {
  Json out = status();
  out["steps"] = 4400;
  out["tokens"]["generated"] = 4800;
  out["tokens"]["prompt"] = 600;
  out["requests"]["completed"] = 110;
  out["process"]["cpu_s"] = 53;
  out["device"]["busy_ms"] = 2000;
  out["latency"]["time_to_first_token"] = {{"sum_s", 1.2}, {"count", 110}};
  Json& components = out["components"];
  Json& pool = components["memory_pool"]["counters"];
  pool["total_allocations"] = 1100;
  pool["fallback_allocations"] = 15;
  pool["exhaustion_count"] = 2;
  Json& blit = components["blit_queue"]["counters"];
  blit["total_uploads"] = 500;
  blit["upload_bytes"] = 1000 + 8 * 1048576;
  blit["copy_ms"] = 20;
  blit["overlapped_ms"] = 13;
  Json& ring = components["command_ring"]["counters"];
  ring["total_acquisitions"] = 4400;
  ring["replays"] = 4200;
  ring["wait_ms"] = 60;
  return out;
}

Snapshot at(const Json& json, int second) {
  return parse_snapshot(json, kStart + seconds(second));
}

View view_of(const Json& before, const Json& now, int second = 2) {
  Monitor monitor;
  monitor.answered(at(before, 0));
  monitor.answered(at(now, second));
  View view = monitor.view(kStart + seconds(second));
  view.url = "http://127.0.0.1:8080";
  view.clock = "12:34:56";
  return view;
}

std::string page(const View& view, FrameSize size = {}) {
  std::string out;
  for (const Line& line : make_frame(view, size)) out += plain_text(line) + "\n";
  return out;
}

Style grade_style(const View& view, const std::string& row) {
  for (const Line& line : make_frame(view, {})) {
    if (plain_text(line).starts_with(row)) return line.back().style;
  }
  ADD_FAILURE() << "no row " << row;
  return Style::kPlain;
}

TEST(TopRates, AreDifferencesByTheTimeBetween) {
  const Rates r = rates_between(at(status(), 0), at(later_status(), 2));
  EXPECT_EQ(r.seconds, 2);
  EXPECT_EQ(r.generated_tokens, 400);
  EXPECT_EQ(r.prompt_tokens, 50);
  EXPECT_EQ(r.steps, 200);
  EXPECT_EQ(r.completed, 5);
  EXPECT_EQ(r.cpu_cores, 1.5);
  EXPECT_EQ(r.device_busy, 0.5);
  EXPECT_EQ(r.upload_bytes, 4 * 1048576);
  EXPECT_DOUBLE_EQ(r.ttft_ms.value(), 20);
  EXPECT_FALSE(r.inter_token_ms) << "no token in between counted for it";
}

TEST(TopRates, RatiosAreOfTheIntervalNotOfAllTime) {
  const Rates r = rates_between(at(status(), 0), at(later_status(), 2));
  EXPECT_DOUBLE_EQ(r.hit_rate.value(), 0.85);
  EXPECT_DOUBLE_EQ(r.overlap_ratio.value(), 0.4);
  EXPECT_DOUBLE_EQ(r.reuse_rate.value(), 0.75);
  EXPECT_DOUBLE_EQ(r.avg_wait_ms.value(), 0.05);
  EXPECT_EQ(r.exhaustions, 2);
}

TEST(TopRates, AFewStepsSayNothingAboutReuse) {
  Json now = status();
  now["components"]["command_ring"]["counters"]["total_acquisitions"] = 4031;
  EXPECT_FALSE(rates_between(at(status(), 0), at(now, 1)).reuse_rate);
  now["components"]["command_ring"]["counters"]["total_acquisitions"] = 4032;
  EXPECT_EQ(rates_between(at(status(), 0), at(now, 1)).reuse_rate, 0.0);
}

TEST(TopRates, OverlapCountedLateIsNoMoreThanAll) {
  Json now = status();
  now["components"]["blit_queue"]["counters"]["copy_ms"] = 11;
  now["components"]["blit_queue"]["counters"]["overlapped_ms"] = 12;
  EXPECT_EQ(rates_between(at(status(), 0), at(now, 1)).overlap_ratio, 1.0);
}

TEST(TopRates, ThereAreNoneAcrossARestartOrAReset) {
  Json other = later_status();
  other["process"]["started_unix_ms"] = 1700000009000;
  EXPECT_EQ(rates_between(at(status(), 0), at(other, 1)).seconds, 0);
  EXPECT_EQ(rates_between(at(later_status(), 0), at(status(), 1)).seconds, 0) << "counters fell";
  EXPECT_EQ(rates_between(at(status(), 0), at(later_status(), 0)).seconds, 0) << "no time went by";
}

TEST(TopSnapshot, AServerOfAnotherVersionIsSaidToBeOne) {
  Json old = status();
  old["components"]["blit_queue"]["counters"].erase("copy_ms");
  try {
    at(old, 0);
    FAIL() << "was read";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("[top.status]"), HasSubstr("copy_ms")));
  }
  EXPECT_THROW(at(Json("text"), 0), Error);
}

TEST(TopFrame, EverythingFitsIn80By24) {
  const std::vector<Line> lines = make_frame(view_of(status(), later_status()), {24, 80});
  EXPECT_LE(lines.size(), 24U);
  for (const Line& line : lines) EXPECT_LE(plain_text(line).size(), 80U) << plain_text(line);
  const std::string text = page(view_of(status(), later_status()));
  for (const char* part : {"http://127.0.0.1:8080",
                           "tiny",
                           "ok",
                           "up 1:00:00",
                           "12:34:56",
                           "running 2",
                           "waiting 1",
                           "completed 110 (5/s)",
                           "400/s generated",
                           "50/s prompt",
                           "200 steps/s",
                           "first token 20 ms",
                           "50 of 200 pages",
                           "[##########----------]  50 %",
                           "1.5 cores",
                           "256.0 MiB in 2 of 4 heaps, 1.00 GiB",
                           "50/s allocations",
                           "7.5/s on demand",
                           "up 200/s 4.0 MiB/s",
                           "depth 3 (most 5)",
                           "3 slots"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  // Nothing is cut at the right.
  const std::string wide = page(view_of(status(), later_status()), {24, 400});
  EXPECT_EQ(text, wide);
}

TEST(TopFrame, TheTableHasTheSeedsRowsInItsOrderWithNowAndSinceStart) {
  const std::string text = page(view_of(status(), later_status()));
  const size_t table = text.find("metric ");
  ASSERT_NE(table, std::string::npos);
  EXPECT_EQ(text.substr(table),
            "metric                    now since start   target  warning critical  grade\n"
            "Memory Pool Hit Rate   85.0 %     100.0 %    >95 %    <90 %    <80 %  warning\n"
            "Blit Overlap Ratio     40.0 %      90.0 %    >80 %    <70 %    <50 %  critical\n"
            "Command Ring Reuse     75.0 %      97.5 %    >90 %    <80 %    <70 %  warning\n"
            "Pool Exhaustion            +2         0/h        0      >10     >100  on target\n"
            "Blit Queue Depth            3           3       <8      >12      >16  on target\n"
            "Ring Wait Time        0.05 ms     0.01 ms     <0.1       >1       >5  on target\n");
}

TEST(TopFrame, GradesHaveTheirColours) {
  const View view = view_of(status(), later_status());
  EXPECT_EQ(grade_style(view, "Memory Pool Hit Rate"), Style::kWarning);
  EXPECT_EQ(grade_style(view, "Blit Overlap Ratio"), Style::kCritical);
  EXPECT_EQ(grade_style(view, "Ring Wait Time"), Style::kGood);
  EXPECT_EQ(terminal_text({{"x", Style::kCritical}, {"y"}}, true), "\033[1;31mx\033[0my");
  EXPECT_EQ(terminal_text({{"x", Style::kCritical}, {"y"}}, false), "xy");
}

TEST(TopFrame, AnIdleIntervalIsGradedByWhatWasBefore) {
  const View view = view_of(status(), status());
  EXPECT_THAT(page(view), HasSubstr("Memory Pool Hit Rate        -     100.0 %"));
  EXPECT_EQ(grade_style(view, "Memory Pool Hit Rate"), Style::kGood);
}

TEST(TopFrame, WhatHasNoDataHasNoGrade) {
  Json off = status();
  off["components"]["memory_pool"]["enabled"] = false;
  off["components"]["memory_pool"]["metrics"][0]["value"] = nullptr;
  Json now = off;
  now["components"]["memory_pool"]["counters"]["total_allocations"] = 1100;
  const View view = view_of(off, now);
  EXPECT_EQ(grade_style(view, "Memory Pool Hit Rate"), Style::kDim);
  EXPECT_THAT(page(view), HasSubstr("memory pool  off"));
}

TEST(TopFrame, ARemedyStandsBelowTheTableWhereThereIsRoom) {
  Json bad = status();
  bad["components"]["memory_pool"]["metrics"][0] =
      metric("hit_rate", "", true, {0.95, 0.90, 0.80}, 0.5, "raise heap_size_mb or num_heaps");
  const View view = view_of(bad, bad);
  EXPECT_THAT(page(view, {40, 80}), HasSubstr("hit_rate: raise heap_size_mb or num_heaps\n"));
}

TEST(TopFrame, ALowTerminalLosesBlankLinesAndDetailsFirst) {
  const View view = view_of(status(), later_status());
  for (size_t rows = 1; rows <= 24; ++rows) {
    const std::vector<Line> lines = make_frame(view, {rows, 80});
    EXPECT_EQ(lines.size(), std::min<size_t>(rows, make_frame(view, {99, 80}).size()));
    EXPECT_THAT(plain_text(lines[0]), HasSubstr("krserve top"));
  }
  const std::string low = page(view, {15, 80});
  EXPECT_THAT(low, AllOf(HasSubstr("Ring Wait Time"), HasSubstr("memory pool"),
                         Not(HasSubstr("\n\n")), Not(HasSubstr("largest free"))));
}

TEST(TopFrame, ANarrowTerminalCutsLinesAtWholeCharacters) {
  View view = view_of(status(), later_status());
  view.last->model =
      "gr\xC3\xB6\xC3\x9F"
      "er";
  for (size_t columns = 1; columns < 60; ++columns) {
    for (const Line& line : make_frame(view, {24, columns})) {
      const std::string text = plain_text(line);
      const auto points = std::ranges::count_if(
          text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80; });
      EXPECT_LE(points, static_cast<std::ptrdiff_t>(columns));
      EXPECT_NO_THROW(Json(text).dump()) << "broken UTF-8";
    }
  }
}

TEST(TopFrame, TextOfTheServerCannotSteerTheTerminal) {
  View view = view_of(status(), later_status());
  view.last->model =
      "a\033]0;x\007b\xC2\x9B"
      "c";
  EXPECT_THAT(page(view), AllOf(HasSubstr("a?]0;x?b?c"), Not(HasSubstr("\033"))));
}

TEST(TopMonitor, WithoutAnAnswerThereIsAReasonAndTheLastReading) {
  Monitor monitor;
  monitor.failed("[status.get] no answer");
  EXPECT_THAT(page(monitor.view(kStart)),
              AllOf(HasSubstr("[status.get] no answer\n"), HasSubstr("asking again every 1 s")));
  monitor.answered(at(status(), 0));
  EXPECT_THAT(page(monitor.view(kStart)), Not(HasSubstr("no answer")));
  monitor.failed("[status.get] no answer");
  const std::string gone = page(monitor.view(kStart + seconds(12)));
  EXPECT_THAT(gone, AllOf(HasSubstr("no answer"), HasSubstr("below: the last answer, 12 s old"),
                          HasSubstr("50 of 200 pages"), HasSubstr("0/s generated")));
}

TEST(TopMonitor, ANewRunOfTheServerIsPointedOutForAWhile) {
  Monitor monitor;
  monitor.answered(at(later_status(), 0));
  EXPECT_FALSE(monitor.view(kStart).restarted);
  Json fresh = status();
  fresh["process"]["pid"] = 8;
  monitor.failed("gone");
  monitor.answered(at(fresh, 2));
  EXPECT_THAT(page(monitor.view(kStart + seconds(2))), HasSubstr("started again (process 8)"));
  monitor.answered(at(fresh, 8));
  EXPECT_THAT(page(monitor.view(kStart + seconds(8))), Not(HasSubstr("started again")));
}

TEST(TopJson, HasTheRatesAndTheGrades) {
  const Json out = view_json(view_of(status(), later_status()));
  EXPECT_EQ(out["server"], "http://127.0.0.1:8080");
  EXPECT_EQ(out["error"], nullptr);
  EXPECT_EQ(out["rates"]["generated_tokens_per_s"], 400);
  EXPECT_EQ(out["rates"]["inter_token_ms"], nullptr);
  ASSERT_EQ(out["metrics"].size(), 6U);
  for (const Json& m : out["metrics"]) {
    if (m["metric"] != "overlap_ratio") continue;
    EXPECT_EQ(m["grade"], "critical");
    EXPECT_EQ(m["critical"], 0.5);
  }
  Monitor gone;
  gone.failed("no answer");
  EXPECT_EQ(view_json(gone.view(kStart)), Json({{"server", ""}, {"error", "no answer"}}));
}

TEST(TopNumbers, AreShort) {
  EXPECT_EQ(short_number(0), "0");
  EXPECT_EQ(short_number(12.34), "12.3");
  EXPECT_EQ(short_number(1234.4), "1234");
  EXPECT_EQ(short_number(12345), "12.3k");
  EXPECT_EQ(short_number(4.56e6), "4560k");
  EXPECT_EQ(short_number(4.56e7), "45.6M");
  EXPECT_EQ(bar(0.5, 4), "[##--]");
  EXPECT_EQ(bar(7, 4), "[####]");
}

}  // namespace
}  // namespace krserve::cli
