// Gaps between steps and their causes, on the simulated clock.
#include "runtime/command_ring/command_ring.h"
#include "unit/runtime/command_ring_fixture.h"

namespace krserve::runtime {
namespace {

using RingGaps = RingFixture;

TEST_F(RingGaps, GapsAreTheDevicesIdleTimeBetweenSteps) {
  open(ring_of(2));
  for (int i = 0; i < 3; ++i) step();  // back to back
  ring_->take_completed();
  RingStatistics s = ring_->statistics();
  EXPECT_EQ(s.gap_count, 2U);
  EXPECT_EQ(s.gap_p50_us, 0.0);
  EXPECT_EQ(s.gap_p99_us, 0.0);
  step().wait(kLongWait);  // the clock is at its end now
  device_->advance_clock(5000);
  step().wait(kLongWait);
  device_->advance_clock(100'000'000);
  step({.after_idle = true}).wait(kLongWait);  // there was no work: no gap
  ring_->take_completed();
  s = ring_->statistics();
  EXPECT_EQ(s.gap_count, 4U);
  EXPECT_EQ(s.gap_p50_us, 0.0);
  ring_->reset_statistics();
  for (int i = 0; i < 2; ++i) step().wait(kLongWait);
  device_->advance_clock(7000);
  step().wait(kLongWait);
  ring_->take_completed();
  s = ring_->statistics();
  EXPECT_EQ(s.gap_count, 2U);
}

TEST_F(RingGaps, OneGapIsExact) {
  open(ring_of(2));
  step().wait(kLongWait);
  device_->advance_clock(5000);
  step().wait(kLongWait);
  ring_->take_completed();
  EXPECT_EQ(ring_->statistics().gap_p50_us, 5.0);
  EXPECT_EQ(ring_->statistics().gap_p99_us, 5.0);
}

GapStatistics of(const RingStatistics& s, GapCause cause) {
  return s.gaps[static_cast<size_t>(cause)];
}

uint64_t others(const RingStatistics& s, GapCause cause) {
  uint64_t count = 0;
  for (size_t i = 0; i < kGapCauses; ++i) count += s.gaps[i].count;
  return count - of(s, cause).count;
}

TEST_F(RingGaps, AStepCommittedAfterTheEndOfTheOneBeforeIsTheHostsFault) {
  open(ring_of(2));
  step().wait(kLongWait);
  device_->advance_clock(5000);
  step().wait(kLongWait);
  ring_->take_completed();
  const RingStatistics s = ring_->statistics();
  EXPECT_EQ(of(s, GapCause::kHostLate).count, 1U);
  EXPECT_DOUBLE_EQ(of(s, GapCause::kHostLate).total_ms, 0.005);
  EXPECT_DOUBLE_EQ(of(s, GapCause::kHostLate).max_us, 5.0);
  EXPECT_EQ(of(s, GapCause::kHostLate).buckets[2], 1U) << "2 < 5 <= 5";
  EXPECT_EQ(others(s, GapCause::kHostLate), 0U);
}

// Committed in time, but its upload arrives 7 us after the step before has ended.
TEST_F(RingGaps, AStepWhoseUploadIsLateWaitsForABlit) {
  open(ring_of(3), true);
  const TimelinePoint uploaded{device_->new_timeline(), 1};
  step();
  step({.wait = uploaded});
  device_->step();  // 1000 to 2000
  EXPECT_FALSE(device_->step());
  device_->advance_clock(8000);  // it is 9000
  uploaded.timeline->signal(1);
  device_->step();
  ring_->take_completed();
  const RingStatistics s = ring_->statistics();
  EXPECT_EQ(of(s, GapCause::kBlit).count, 1U);
  EXPECT_DOUBLE_EQ(of(s, GapCause::kBlit).max_us, 7.0);
  EXPECT_EQ(others(s, GapCause::kBlit), 0U);
}

TEST_F(RingGaps, AnUploadInTimeIsNotTheCause) {
  open(ring_of(3), true);
  const TimelinePoint uploaded{device_->new_timeline(), 1};
  step();
  step({.wait = uploaded});
  uploaded.timeline->signal(1);  // at 1000, before the end of the first step
  while (device_->step()) {
  }
  ring_->take_completed();
  const RingStatistics s = ring_->statistics();
  EXPECT_EQ(s.gap_count, 1U);
  EXPECT_EQ(s.gap_p99_us, 0.0);
  for (const GapStatistics& gap : s.gaps) EXPECT_EQ(gap.count, 0U);
}

TEST_F(RingGaps, AReadyStepThatTheDeviceDoesNotStartIsLaunchTime) {
  open(ring_of(2), true);
  step();
  step();
  device_->step();               // 1000 to 2000
  device_->advance_clock(4000);  // it is 5000: the device takes its time
  device_->step();
  ring_->take_completed();
  const RingStatistics s = ring_->statistics();
  EXPECT_EQ(of(s, GapCause::kLaunch).count, 1U);
  EXPECT_DOUBLE_EQ(of(s, GapCause::kLaunch).max_us, 3.0);
  EXPECT_EQ(others(s, GapCause::kLaunch), 0U);
}

TEST_F(RingGaps, TimeWithoutWorkIsNotTheRingsGap) {
  open(ring_of(2));
  step().wait(kLongWait);
  device_->advance_clock(100'000'000);
  step({.after_idle = true}).wait(kLongWait);
  ring_->take_completed();
  const RingStatistics s = ring_->statistics();
  EXPECT_EQ(of(s, GapCause::kNoWork).count, 1U);
  EXPECT_DOUBLE_EQ(of(s, GapCause::kNoWork).total_ms, 100.0);
  EXPECT_EQ(of(s, GapCause::kNoWork).buckets.back(), 1U);
  EXPECT_EQ(others(s, GapCause::kNoWork), 0U);
  EXPECT_EQ(s.gap_count, 0U);
}

// Work came while the step before still ran: what is between them then has another cause.
TEST_F(RingGaps, WorkThatCameInTimeIsNoLackOfWork) {
  open(ring_of(2), true);
  step();
  step({.after_idle = true});
  device_->step();
  device_->advance_clock(4000);
  device_->step();
  ring_->take_completed();
  EXPECT_EQ(of(ring_->statistics(), GapCause::kLaunch).count, 1U);
  EXPECT_EQ(of(ring_->statistics(), GapCause::kNoWork).count, 0U);
}

TEST_F(RingGaps, NoGapIsCountedAcrossARebuild) {
  open(ring_of(2));
  step().wait(kLongWait);
  device_->advance_clock(5000);
  ring_->rebuild(device_->new_queue(QueueKind::kCompute));
  step().wait(kLongWait);
  ring_->take_completed();
  EXPECT_EQ(ring_->statistics().gap_count, 0U);
}

struct CauseCase {
  StepFacts facts;
  GapCause cause;
};

// The device was idle from 1000 to 2000.
TEST(GapCauses, TheLargestPartDecides) {
  const auto facts = [](uint64_t committed, std::optional<uint64_t> over, bool waited) {
    StepFacts out;
    out.committed_ns = committed;
    out.waited = waited;
    out.waits_over_ns = over;
    return out;
  };
  const std::vector<CauseCase> cases{
      {facts(500, {}, false), GapCause::kLaunch},
      {facts(1600, {}, false), GapCause::kHostLate},
      {facts(1400, {}, false), GapCause::kLaunch},
      {facts(1100, 1800, true), GapCause::kBlit},
      {facts(500, 1800, true), GapCause::kBlit},
      {facts(500, 900, true), GapCause::kLaunch},
      {facts(1500, 1700, true), GapCause::kHostLate},
      {facts(1100, 1200, true), GapCause::kLaunch},
      {facts(500, {}, true), GapCause::kBlit},  // the back end does not say when it was over
      {facts(1900, {}, true), GapCause::kHostLate},
      {facts(500, 9000, true), GapCause::kBlit}};  // clocks that do not agree
  for (size_t i = 0; i < cases.size(); ++i) {
    EXPECT_EQ(GapTracker::cause_of(1000, 2000, cases[i].facts), cases[i].cause) << i;
  }
}

}  // namespace
}  // namespace krserve::runtime
