// Every fault of the fake device at every slot of rings of every size, at first use and at a
// replay.
#include "runtime/command_ring/command_ring.h"
#include "unit/runtime/command_ring_fixture.h"

namespace krserve::runtime {
namespace {

constexpr std::chrono::milliseconds kPatience{1};

enum class Outcome { kReached, kDeviceError, kTimeout };

Outcome outcome_of(const TimelinePoint& point) {
  try {
    return point.wait(kPatience) == WaitResult::kReached ? Outcome::kReached : Outcome::kTimeout;
  } catch (const DeviceError&) {
    return Outcome::kDeviceError;
  }
}

struct FaultCase {
  FakeFault fault;
  int64_t size;
  uint64_t nth;  // the step that it strikes; slot (nth - 1) % size
};

std::vector<FaultCase> all_cases() {
  std::vector<FaultCase> out;
  for (const FakeFault fault :
       {FakeFault::kCommit, FakeFault::kExecution, FakeFault::kHang, FakeFault::kLostCompletion}) {
    for (int64_t size = kMinRingSize; size <= kMaxRingSize; ++size) {
      for (uint64_t nth = 1; nth <= 2 * static_cast<uint64_t>(size); ++nth) {
        out.push_back({fault, size, nth});
      }
    }
  }
  return out;
}

class RingFaults : public RingFixture, public ::testing::WithParamInterface<FaultCase> {
 protected:
  void SetUp() override {
    open(ring_of(GetParam().size, 1));
    device_->inject(GetParam().fault, GetParam().nth);
  }
  // Steps up to and with the struck one, then as many as the ring takes without waiting.
  void fill() {
    const uint64_t last = GetParam().nth + static_cast<uint64_t>(GetParam().size) - 1;
    while (ends_.size() < last && ring_->next_is_free()) {
      try {
        ends_.push_back(step());
      } catch (const DeviceError&) {
        ++refused_;
      }
    }
  }
  void expect_usable() {
    for (uint32_t i = 0; i < 3 * ring_->size(); ++i) {
      uint32_t slot = 99;
      ASSERT_EQ(step(&slot).wait(kLongWait), WaitResult::kReached);
      EXPECT_EQ(data_->contents()[63], std::byte(slot + 1)) << "the slot's own recording ran";
    }
    EXPECT_EQ(ring_->in_flight(), 0U);
  }

  std::vector<TimelinePoint> ends_;
  uint64_t refused_ = 0;
};

TEST_P(RingFaults, StrikesItsStepAndTheRingWorksAfterwards) {
  const FaultCase c = GetParam();
  fill();
  for (uint64_t i = 1; i < c.nth && i <= ends_.size(); ++i) {
    EXPECT_EQ(outcome_of(ends_[i - 1]), Outcome::kReached) << "step " << i << " came before it";
  }
  EXPECT_EQ(refused_, c.fault == FakeFault::kCommit ? 1U : 0U);
  if (c.fault == FakeFault::kCommit || c.fault == FakeFault::kLostCompletion) {
    // A refused step leaves no hole; a lost completion is made up by the next step's.
    ASSERT_EQ(ends_.size(), c.nth + static_cast<uint64_t>(c.size) - 1);
    for (const TimelinePoint& end : ends_) EXPECT_EQ(outcome_of(end), Outcome::kReached);
    return expect_usable();
  }
  const bool hangs = c.fault == FakeFault::kHang;
  const Outcome expected = hangs ? Outcome::kTimeout : Outcome::kDeviceError;
  ASSERT_GE(ends_.size(), c.nth);
  for (uint64_t i = c.nth; i <= ends_.size(); ++i) {
    EXPECT_EQ(outcome_of(ends_[i - 1]), expected) << "step " << i;
  }
  while (ring_->next_is_free()) ends_.push_back(step());
  if (hangs) {
    EXPECT_THROW(ring_->acquire(), TimeoutError);
  } else {
    EXPECT_THROW(ring_->acquire(), DeviceError);
  }
  EXPECT_EQ(ring_->statistics().timeouts, hangs ? 1U : 0U);
  ring_->rebuild(device_->new_queue(QueueKind::kCompute));
  for (uint64_t i = c.nth; i <= ends_.size(); ++i) {
    EXPECT_EQ(outcome_of(ends_[i - 1]), Outcome::kDeviceError) << "step " << i << " is lost";
  }
  EXPECT_EQ(ring_->describe().find("in flight"), std::string::npos);
  expect_usable();
  device_->release_hangs();  // what hung runs at last, and disturbs nobody
  expect_usable();
  EXPECT_EQ(ring_->statistics().rebuilds, 1U);
}

std::string name_of(const ::testing::TestParamInfo<FaultCase>& info) {
  const char* fault = info.param.fault == FakeFault::kCommit      ? "Commit"
                      : info.param.fault == FakeFault::kExecution ? "Execution"
                      : info.param.fault == FakeFault::kHang      ? "Hang"
                                                                  : "LostCompletion";
  return std::string(fault) + "Ring" + std::to_string(info.param.size) + "Step" +
         std::to_string(info.param.nth);
}

INSTANTIATE_TEST_SUITE_P(EveryFault, RingFaults, ::testing::ValuesIn(all_cases()), name_of);

// The last completion of all is made up by nobody.
TEST_F(RingFixture, ALostCompletionOfTheLastStepTimesOut) {
  for (const int64_t size : {2, 3, 4}) {
    open(ring_of(size, 1));
    for (int64_t i = 0; i < size - 1; ++i) step();
    device_->inject(FakeFault::kLostCompletion, 1);
    EXPECT_EQ(outcome_of(step()), Outcome::kTimeout) << size;
    ring_->rebuild(device_->new_queue(QueueKind::kCompute));
    EXPECT_EQ(outcome_of(step()), Outcome::kReached) << size;
  }
}

}  // namespace
}  // namespace krserve::runtime
