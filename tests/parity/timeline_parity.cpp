#include <thread>

#include "parity/parity.h"

namespace krserve::parity {
namespace {

using ::testing::HasSubstr;

std::string error_of_wait(Timeline& timeline, uint64_t value) {
  try {
    timeline.wait(value, kNoTimeout);
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "no error";
}

TEST_P(Parity, TheHostSignalsATimelineThatOnlyGrows) {
  auto timeline = device_->new_timeline();
  EXPECT_EQ(timeline->value(), 0U);
  EXPECT_EQ(timeline->wait(0, kShort), WaitResult::kReached);
  timeline->signal(5);
  EXPECT_EQ(timeline->value(), 5U);
  timeline->signal(3);
  timeline->signal(5);
  EXPECT_EQ(timeline->value(), 5U);
  EXPECT_EQ(timeline->wait(5, kShort), WaitResult::kReached);
  EXPECT_EQ(timeline->wait(4, kNoTimeout), WaitResult::kReached);
  timeline->signal(UINT64_MAX);
  EXPECT_TRUE(timeline->reached(UINT64_MAX));
  EXPECT_EQ(timeline->error(), std::nullopt);
}

TEST_P(Parity, AWaitForAValueNotReachedTimesOut) {
  auto timeline = device_->new_timeline();
  timeline->signal(1);
  EXPECT_EQ(timeline->wait(2, kShort), WaitResult::kTimeout);
  EXPECT_EQ(timeline->wait(2, std::chrono::nanoseconds(0)), WaitResult::kTimeout);
  EXPECT_EQ(timeline->wait(2, std::chrono::nanoseconds(-1)), WaitResult::kTimeout);
  timeline->signal(2);
  EXPECT_EQ(timeline->wait(2, std::chrono::nanoseconds(0)), WaitResult::kReached);
}

TEST_P(Parity, AnEmptyPointHasAlwaysBeenReached) {
  const TimelinePoint point;
  EXPECT_TRUE(point.reached());
  EXPECT_EQ(point.wait(kNoTimeout), WaitResult::kReached);
  auto one = buffer(4);
  const TimelinePoint done{device_->new_timeline(), 1};
  commit_fill(*compute_, whole(*one), 1, {point}, {point, done});
  EXPECT_EQ(done.wait(kLong), WaitResult::kReached);
}

TEST_P(Parity, ASignalWakesEveryHostThreadThatWaits) {
  auto timeline = device_->new_timeline();
  std::vector<std::thread> waiters;
  std::atomic<int> reached{0};
  for (uint64_t value = 1; value <= 4; ++value) {
    waiters.emplace_back([&, value] {
      if (timeline->wait(value, kNoTimeout) == WaitResult::kReached) ++reached;
    });
  }
  timeline->signal(2);
  timeline->signal(4);
  for (std::thread& waiter : waiters) waiter.join();
  EXPECT_EQ(reached.load(), 4);
}

TEST_P(Parity, AQueueWaitsForAnotherQueueAndForTheHost) {
  auto from = buffer_of(Bytes(1000, 1));
  auto to = buffer_of(Bytes(1000, 0));
  auto gate = device_->new_timeline();
  auto written = device_->new_timeline();
  auto copied = device_->new_timeline();
  auto copy = begin(*down_);
  copy->copy(whole(*to), whole(*from));
  commit(*down_, copy, {{written, 7}}, {{copied, 1}});
  commit_fill(*compute_, whole(*from), 0x42, {{gate, 1}}, {{written, 7}});
  EXPECT_EQ(copied->wait(1, kShort), WaitResult::kTimeout);
  EXPECT_EQ(copy->state(), CommandBufferState::kCommitted);
  gate->signal(1);
  ASSERT_EQ(copied->wait(1, kLong), WaitResult::kReached);
  EXPECT_EQ(read_all<uint8_t>(whole(*to)), Bytes(1000, 0x42));
}

TEST_P(Parity, OneCommandBufferWaitsForAndSignalsSeveralTimelines) {
  auto one = buffer(8);
  auto a = device_->new_timeline();
  auto b = device_->new_timeline();
  auto c = device_->new_timeline();
  auto d = device_->new_timeline();
  commit_fill(*compute_, whole(*one), 1, {{a, 1}, {b, 2}}, {{c, 3}, {d, 4}});
  a->signal(1);
  EXPECT_EQ(c->wait(3, kShort), WaitResult::kTimeout);
  b->signal(2);
  EXPECT_EQ(c->wait(3, kLong), WaitResult::kReached);
  EXPECT_EQ(d->wait(4, kLong), WaitResult::kReached);
}

TEST_P(Parity, PoisonReachesPresentAndLaterWaiters) {
  auto timeline = device_->new_timeline();
  timeline->signal(3);
  std::string seen[3];
  std::vector<std::thread> waiters;
  for (std::string& text : seen) {
    waiters.emplace_back([&] { text = error_of_wait(*timeline, 4); });
  }
  timeline->poison("the device is gone");
  timeline->poison("and again");
  for (std::thread& waiter : waiters) waiter.join();
  for (const std::string& text : seen) EXPECT_THAT(text, HasSubstr("the device is gone"));
  EXPECT_THAT(error_of_wait(*timeline, 9), HasSubstr("the device is gone"));
  ASSERT_TRUE(timeline->error().has_value());
  EXPECT_THAT(*timeline->error(), HasSubstr("the device is gone"));
}

TEST_P(Parity, ValuesReachedBeforeAPoisonStayGood) {
  auto timeline = device_->new_timeline();
  timeline->signal(3);
  timeline->poison("broken");
  EXPECT_EQ(timeline->wait(3, kShort), WaitResult::kReached);
  EXPECT_EQ(timeline->value(), 3U);
  EXPECT_THROW(timeline->wait(4, std::chrono::nanoseconds(0)), DeviceError);
}

// A step that runs after a failed one signals a higher value: the failed one must not look good.
TEST_P(Parity, ASignalAfterAPoisonDoesNotHealIt) {
  auto timeline = device_->new_timeline();
  timeline->poison("step 1 failed");
  timeline->signal(2);
  EXPECT_EQ(timeline->value(), 0U);
  EXPECT_THROW(timeline->wait(1, kShort), DeviceError);

  auto broken = device_->new_timeline();
  broken->poison("no input");
  auto steps = device_->new_timeline();
  auto last = device_->new_timeline();
  auto one = buffer(8);
  commit_fill(*compute_, whole(*one), 1, {{broken, 1}}, {{steps, 1}});
  commit_fill(*compute_, whole(*one), 2, {}, {{steps, 2}, {last, 1}});
  ASSERT_EQ(last->wait(1, kLong), WaitResult::kReached);
  EXPECT_THAT(error_of_wait(*steps, 1), HasSubstr("no input"));
  EXPECT_THROW(steps->wait(2, kShort), DeviceError);
}

TEST_P(Parity, AnEmptyPoisonMessageIsStillAnError) {
  auto timeline = device_->new_timeline();
  timeline->poison("");
  EXPECT_TRUE(timeline->error().has_value());
  EXPECT_THROW(timeline->wait(1, kShort), DeviceError);
}

}  // namespace
}  // namespace krserve::parity
