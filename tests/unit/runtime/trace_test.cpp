#include "runtime/trace/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"

namespace krserve::runtime {
namespace {

using Json = nlohmann::json;

TEST(Trace, DeviceTimesAreShiftedToTheHostsClock) {
  TraceRecorder trace;
  const uint64_t before = now_ns();
  trace.align(5000);
  const uint64_t after = now_ns();
  trace.add(TraceTrack::kCompute, "step", {6000, 8000}, 7);
  const TraceEvent event = trace.events().at(0);
  EXPECT_GE(event.start_ns, before + 1000);
  EXPECT_LE(event.start_ns, after + 1000);
  EXPECT_EQ(event.end_ns - event.start_ns, 2000U);
}

TEST(Trace, KeepsTheNewestEventsAndSaysHowManyAreGone) {
  TraceRecorder trace(4);
  for (uint64_t i = 1; i <= 10; ++i) trace.add_host("phase", i * 10, i * 10 + 5);
  const auto events = trace.events();
  ASSERT_EQ(events.size(), 4U);
  for (uint64_t i = 0; i < 4; ++i) EXPECT_EQ(events[i].start_ns, (7 + i) * 10);
  EXPECT_EQ(trace.dropped(), 6U);
  trace.clear();
  EXPECT_TRUE(trace.events().empty());
  EXPECT_EQ(trace.dropped(), 0U);
}

TEST(Trace, JsonHasATrackForEachKindOfWork) {
  TraceRecorder trace;
  trace.add(TraceTrack::kCompute, "step", {1'000'000, 1'001'500}, 3, "host_late");
  trace.add(TraceTrack::kUpload, "copy", {1'000'100, 1'000'200});
  trace.add(TraceTrack::kDownload, "copy", {1'001'600, 1'001'700});
  trace.add(TraceTrack::kSlot, "in flight", {999'000, 1'001'500}, 3, nullptr, 2);
  trace.add_host("schedule", 998'000, 998'500);
  const Json json = Json::parse(trace.json());
  std::map<std::string, int> tracks;
  std::map<std::string, Json> events;
  for (const Json& record : json["traceEvents"]) {
    if (record["name"] == "thread_name") tracks[record["args"]["name"]]++;
    if (record["ph"] == "X") events[record["name"]] = record;
  }
  EXPECT_THAT(tracks, ::testing::UnorderedElementsAre(
                          std::pair("compute", 1), std::pair("copies to device", 1),
                          std::pair("copies to host", 1), std::pair("slot 2", 1),
                          std::pair("engine thread", 1)));
  EXPECT_EQ(events["schedule"]["ts"], 0.0) << "times begin with the first event";
  EXPECT_EQ(events["step"]["ts"], 2.0);
  EXPECT_EQ(events["step"]["dur"], 1.5);
  EXPECT_EQ(events["step"]["args"]["step"], 3);
  EXPECT_EQ(events["step"]["args"]["idle before"], "host_late");
}

TEST(Trace, AnEmptyTraceParses) {
  EXPECT_TRUE(Json::parse(TraceRecorder().json())["traceEvents"].is_array());
}

TEST(Trace, AFileThatCannotBeWrittenIsAnError) {
  EXPECT_THROW(TraceRecorder().write("/nonexistent/trace.json"), Error);
}

TEST(Trace, APhaseEndsWithItsScopeAndCostsNothingWithoutARecorder) {
  const auto trace = std::make_shared<TraceRecorder>();
  {
    const TracePhase outer(trace, "outer");
    const TracePhase inner(trace, "inner");
    const TracePhase none(nullptr, "none");
  }
  const auto events = trace->events();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_STREQ(events[0].name, "outer");
  EXPECT_GE(events[0].end_ns, events[1].end_ns);
}

TEST(Trace, EightThreadsLoseNothing) {
  TraceRecorder trace(5000);
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 8; ++t) {
    threads.emplace_back([&trace, t] {
      for (uint64_t i = 0; i < 1000; ++i) trace.add_host("phase", t * 1000 + i, t * 1000 + i + 1);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(trace.events().size(), 5000U);
  EXPECT_EQ(trace.dropped(), 3000U);
}

}  // namespace
}  // namespace krserve::runtime
