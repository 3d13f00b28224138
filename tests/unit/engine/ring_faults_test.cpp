// Fault containment: every fault of the fake device at every slot of rings of 2, 3, 4 and 8. The
// requests of the struck step fail with a typed error; what was in flight behind it is computed
// again and gets the tokens it would have had; no page leaks; the engine is as good as new.
#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "base/error.h"
#include "device/fake/fake_device.h"
#include "support/engine_client.h"

namespace krserve::engine {
namespace {

using test::greedy_request;
using test::small_config;
using test::submit;
using test::Submitted;

constexpr const char* kModel = "qwen2-q4-g64";

struct FaultCase {
  FakeFault fault;
  int64_t ring_size;
  uint32_t slot;  // of the struck step
  bool replay;    // the slot has been round before
  QueueKind queue = QueueKind::kCompute;
  bool unified = true;
  bool pool = true;
};

const char* fault_name(FakeFault fault) {
  switch (fault) {
    case FakeFault::kCommit:
      return "Commit";
    case FakeFault::kExecution:
      return "Execution";
    case FakeFault::kHang:
      return "Hang";
    case FakeFault::kLostCompletion:
      return "LostCompletion";
    case FakeFault::kQueue:
      return "Queue";
    case FakeFault::kAllocation:
      break;
  }
  return "Allocation";
}

std::string case_name(const ::testing::TestParamInfo<FaultCase>& info) {
  const FaultCase& c = info.param;
  std::string name = std::string(fault_name(c.fault)) + "Ring" + std::to_string(c.ring_size) +
                     "Slot" + std::to_string(c.slot) + (c.replay ? "Replay" : "First");
  if (c.queue == QueueKind::kCopyToDevice) name += "Upload";
  if (c.queue == QueueKind::kCopyToHost) name += "Download";
  if (c.queue == QueueKind::kCompute && !c.unified) name += "OwnMemory";
  return name;
}

std::vector<FaultCase> compute_cases() {
  std::vector<FaultCase> out;
  for (const FakeFault fault :
       {FakeFault::kCommit, FakeFault::kExecution, FakeFault::kHang, FakeFault::kLostCompletion}) {
    for (const int64_t size : {2, 3, 4, 8}) {
      for (uint32_t slot = 0; slot < static_cast<uint32_t>(size); ++slot) {
        for (const bool replay : {false, true}) out.push_back({fault, size, slot, replay});
      }
    }
    for (const bool replay : {false, true}) {
      out.push_back({fault, 3, 1, replay, QueueKind::kCompute, false});
    }
  }
  return out;
}

// Tokens without any fault, computed once.
const std::vector<int32_t>& expected_tokens(const std::vector<int32_t>& prompt, uint32_t count) {
  static std::map<std::pair<std::vector<int32_t>, uint32_t>, std::vector<int32_t>> known;
  auto& tokens = known[{prompt, count}];
  if (tokens.empty()) {
    const auto engine = Engine::create(small_config(true, true, true), test::golden_dir(kModel), {},
                                       std::make_shared<FakeDevice>());
    tokens = submit(*engine, greedy_request(prompt, count)).wait().tokens;
  }
  return tokens;
}

// Pages of a step that hung come back a moment after its queue came to rest.
void wait_for_no_pages(const Engine& engine) {
  for (int i = 0; i < 500 && engine.statistics().kv_pages_used > 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(engine.statistics().kv_pages_used, 0U);
}

class RingFaults : public ::testing::TestWithParam<FaultCase> {
 protected:
  static constexpr uint32_t kTokens = 12;

  void open() {
    const FaultCase& c = GetParam();
    FakeOptions options;
    options.unified_memory = c.unified;
    device_ = std::make_shared<FakeDevice>(options);
    auto config = small_config(c.pool, true, true, c.ring_size);
    // Only a hang needs it; the others must not meet it on a slow machine.
    const bool hangs = c.fault == FakeFault::kHang;
    config.metal_optimizations.command_buffer_ring.timeout_ms = hangs ? 150 : 0;
    engine_ = Engine::create(config, test::golden_dir(kModel), {}, device_);
  }
  // One step for each request of one token: the next step is the struck slot's.
  void go_to_slot() {
    const FaultCase& c = GetParam();
    const uint32_t steps = c.slot + (c.replay ? static_cast<uint32_t>(c.ring_size) : 0);
    if (steps > 0) submit(*engine_, greedy_request({5}, steps)).wait();
    ASSERT_EQ(engine_->statistics().ring.total_acquisitions, steps);
  }
  void wait_for_commits(uint64_t steps) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (device_->count_calls("commit compute step") < steps &&
           std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ASSERT_GE(device_->count_calls("commit compute step"), steps);
  }
  // Victim and bystander: the first is alone in the struck step, the second in the steps behind it.
  // A refused commit leaves no step behind which another could be: there the bystander comes next.
  void strike() {
    const uint64_t before = device_->count_calls("commit compute step");
    // A hung step holds the queue by itself, and the time-out must not meet a device that waits.
    device_->set_manual(GetParam().fault != FakeFault::kHang);
    device_->inject(GetParam().fault, 1, GetParam().queue);
    victim_ = submit(*engine_, greedy_request({1, 2, 3}, 1));
    if (GetParam().fault == FakeFault::kCommit) {
      victim_.wait();
    } else {
      wait_for_commits(before + 1);
    }
    bystander_ = submit(*engine_, greedy_request({7, 8}, kTokens));
    wait_for_commits(before + (GetParam().fault == FakeFault::kCommit ? 1 : 2));
    device_->set_manual(false);
  }
  void expect_as_good_as_new() {
    device_->clear_faults();
    device_->release_hangs();
    EXPECT_EQ(submit(*engine_, greedy_request({1, 2, 3}, kTokens)).wait().tokens,
              expected_tokens({1, 2, 3}, kTokens));
    EXPECT_EQ(engine_->health(), Health::kReady);
    EXPECT_TRUE(engine_->drain(30'000'000'000));
    wait_for_no_pages(*engine_);
    EXPECT_EQ(engine_->statistics().requests_running, 0U);
  }

  std::shared_ptr<FakeDevice> device_;
  std::unique_ptr<Engine> engine_;
  Submitted victim_;
  Submitted bystander_;
};

TEST_P(RingFaults, FailTheirOwnRequestsAndTheRestGetTheirTokens) {
  const FaultCase c = GetParam();
  open();
  go_to_slot();
  strike();
  const auto victim = victim_.wait();
  EXPECT_EQ(bystander_.wait().tokens, expected_tokens({7, 8}, kTokens));
  EXPECT_EQ(bystander_.wait().last.finish, FinishReason::kLength);
  const EngineStatistics s = engine_->statistics();
  if (c.fault == FakeFault::kLostCompletion) {  // the step behind it tells of its end
    EXPECT_EQ(victim.tokens, expected_tokens({1, 2, 3}, 1));
    EXPECT_EQ(s.requests_failed_total, 0U);
    EXPECT_EQ(s.ring.rebuilds, 0U);
  } else {
    const bool hang = c.fault == FakeFault::kHang;
    EXPECT_EQ(victim.last.finish, FinishReason::kError);
    EXPECT_EQ(victim.finishes, 1U);
    EXPECT_EQ(victim.last.error_kind, hang ? ErrorKind::kTimeout : ErrorKind::kDevice);
    EXPECT_NE(victim.last.error.find(hang ? "[engine.step] no step ended for" : "injected fault"),
              std::string::npos)
        << victim.last.error;
    EXPECT_EQ(s.requests_failed_total, 1U);
    EXPECT_EQ(s.ring.rebuilds, 1U);
    EXPECT_EQ(s.ring.timeouts, hang ? 1U : 0U);
  }
  expect_as_good_as_new();
}

INSTANTIATE_TEST_SUITE_P(OfTheComputeQueue, RingFaults, ::testing::ValuesIn(compute_cases()),
                         case_name);

// Faults of the copies that a step depends on, on a device with memory of its own and without the
// pool: with it the copies are part of the recorded step.
std::vector<FaultCase> copy_cases() {
  std::vector<FaultCase> out;
  for (const QueueKind queue : {QueueKind::kCopyToDevice, QueueKind::kCopyToHost}) {
    for (const FakeFault fault : {FakeFault::kCommit, FakeFault::kExecution}) {
      for (const int64_t size : {2, 3, 4}) {
        for (uint32_t slot = 0; slot < static_cast<uint32_t>(size); ++slot) {
          out.push_back({fault, size, slot, true, queue, false, false});
        }
      }
    }
  }
  return out;
}

class RingCopyFaults : public RingFaults {};

TEST_P(RingCopyFaults, FailTheStepThatNeedsTheCopy) {
  open();
  go_to_slot();
  device_->inject(GetParam().fault, 1, GetParam().queue);
  const auto victim = submit(*engine_, greedy_request({1, 2, 3}, kTokens)).wait();
  EXPECT_EQ(victim.last.finish, FinishReason::kError);
  EXPECT_EQ(victim.last.error_kind, ErrorKind::kDevice);
  EXPECT_EQ(engine_->statistics().ring.rebuilds, 1U);
  expect_as_good_as_new();
}

INSTANTIATE_TEST_SUITE_P(OfTheCopyQueues, RingCopyFaults, ::testing::ValuesIn(copy_cases()),
                         case_name);

// The steps in flight when a commit is refused are lost with the ring and computed again.
TEST(RingFault, StepsInFlightSurviveARefusedCommit) {
  for (const int64_t size : {2, 3, 4, 8}) {
    const auto device = std::make_shared<FakeDevice>();
    const auto engine =
        Engine::create(small_config(true, true, true, size), test::golden_dir(kModel), {}, device);
    device->inject(FakeFault::kHang, 1);  // keeps the bystander's step in flight
    const Submitted bystander = submit(*engine, greedy_request({7, 8}, 1));
    while (device->count_calls("commit compute step") == 0) std::this_thread::yield();
    device->inject(FakeFault::kCommit, 1);
    const auto victim = submit(*engine, greedy_request({1, 2, 3}, 12)).wait();
    EXPECT_EQ(victim.last.error_kind, ErrorKind::kDevice) << size;
    EXPECT_EQ(bystander.wait().tokens, expected_tokens({7, 8}, 1)) << size;
    EXPECT_EQ(engine->statistics().requests_failed_total, 1U) << size;
    device->release_hangs();
    EXPECT_TRUE(engine->drain(30'000'000'000));
    wait_for_no_pages(*engine);
  }
}

// A device that runs nothing any more, on a new queue neither: nobody is left waiting.
TEST(RingFault, ALostDeviceFailsEveryRequestAndSaysSo) {
  const auto device = std::make_shared<FakeDevice>();
  auto config = small_config(true, true, true);
  config.engine.parallel = 2;
  const auto engine = Engine::create(config, test::golden_dir(kModel), {}, device);
  device->set_manual(true);
  const Submitted running = submit(*engine, greedy_request({7, 8}, 1));
  while (device->count_calls("commit compute step") == 0) std::this_thread::yield();
  device->inject(FakeFault::kCommit, 1);
  const Submitted behind = submit(*engine, greedy_request({1, 2, 3}, 12));
  const Submitted waiting = submit(*engine, greedy_request({1, 2, 3}, 12));
  for (const Submitted& request : {running, behind, waiting}) {
    EXPECT_EQ(request.wait().last.finish, FinishReason::kError);
    EXPECT_EQ(request.wait().finishes, 1U);
  }
  EXPECT_EQ(engine->health(), Health::kFailed);
  EXPECT_NE(engine->health_detail().find("did not clear"), std::string::npos);
  EXPECT_THROW(submit(*engine, greedy_request({1}, 1)), OverloadError);
  EXPECT_TRUE(engine->drain(1'000'000'000)) << "nothing is left";
}

// A hung step must not keep the copies of later steps behind its own.
TEST(RingFault, AHangOnADeviceWithItsOwnMemoryIsContainedToo) {
  FakeOptions options;
  options.unified_memory = false;
  const auto device = std::make_shared<FakeDevice>(options);
  auto config = small_config(true, true, true);
  config.metal_optimizations.command_buffer_ring.timeout_ms = 60;
  const auto engine = Engine::create(config, test::golden_dir(kModel), {}, device);
  device->inject(FakeFault::kHang, 2);
  const auto victim = submit(*engine, greedy_request({1, 2, 3}, 12)).wait();
  EXPECT_EQ(victim.last.error_kind, ErrorKind::kTimeout);
  EXPECT_EQ(submit(*engine, greedy_request({1, 2, 3}, 12)).wait().tokens,
            expected_tokens({1, 2, 3}, 12))
      << "while the first queue still hangs";
  device->release_hangs();
  EXPECT_TRUE(engine->drain(30'000'000'000));
  wait_for_no_pages(*engine);
}

// Without the pool every step asks for memory. Each allocation that is refused fails one step.
TEST(RingFault, EveryRefusedAllocationOfAStepIsContained) {
  const auto device = std::make_shared<FakeDevice>();
  const auto engine =
      Engine::create(small_config(false, true, true), test::golden_dir(kModel), {}, device);
  uint32_t failed = 0;
  for (uint64_t nth = 1; nth <= 40; ++nth) {
    device->inject(FakeFault::kAllocation, nth);
    const auto reply = submit(*engine, greedy_request({1, 2, 3}, 3)).wait();
    device->clear_faults();
    if (reply.last.finish == FinishReason::kError) {
      ++failed;
      EXPECT_EQ(reply.last.error_kind, ErrorKind::kOutOfMemory) << nth;
    } else {
      EXPECT_EQ(reply.tokens, expected_tokens({1, 2, 3}, 3)) << nth;
    }
  }
  EXPECT_GE(failed, 30U) << "three steps of 13 buffers each";
  EXPECT_EQ(engine->statistics().ring.rebuilds, failed);
  EXPECT_EQ(submit(*engine, greedy_request({1, 2, 3}, 12)).wait().tokens,
            expected_tokens({1, 2, 3}, 12));
  EXPECT_TRUE(engine->drain(30'000'000'000));
  EXPECT_EQ(engine->statistics().kv_pages_used, 0U);
}

class Health503 : public ::testing::Test {
 protected:
  void open(int64_t timeout_ms) {
    auto config = small_config(true, true, true);
    config.engine.health_stall_s = 1;
    config.metal_optimizations.command_buffer_ring.timeout_ms = timeout_ms;
    engine_ = Engine::create(config, test::golden_dir(kModel), {}, device_);
  }
  bool becomes(Health wanted) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (engine_->health() != wanted && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return engine_->health() == wanted;
  }

  std::shared_ptr<FakeDevice> device_ = std::make_shared<FakeDevice>();
  std::unique_ptr<Engine> engine_;
};

TEST_F(Health503, AHungStepIsDumpedWithRingPoolAndBlitQueue) {
  open(0);
  device_->inject(FakeFault::kHang, 1);
  const Submitted stuck = submit(*engine_, greedy_request({1}, 4));
  ASSERT_TRUE(becomes(Health::kStalled));
  const std::string detail = engine_->health_detail();
  for (const char* part :
       {"nothing has moved for", "slot 0: step 1 in flight", "slot 2: ", "pool: ", "live objects",
        "blit queue: ", "pending", "1 requests running"}) {
    EXPECT_NE(detail.find(part), std::string::npos) << part << " in: " << detail;
  }
  device_->release_hangs();
  EXPECT_EQ(stuck.wait().tokens.size(), 4U);
  EXPECT_EQ(engine_->health(), Health::kReady);
}

TEST_F(Health503, AnIdleEngineIsNotStalled) {
  open(0);
  submit(*engine_, greedy_request({1}, 4)).wait();
  std::this_thread::sleep_for(std::chrono::milliseconds(1300));
  EXPECT_EQ(engine_->health(), Health::kReady);
  const Submitted next = submit(*engine_, greedy_request({1}, 60));
  EXPECT_NE(engine_->health(), Health::kStalled) << "the time without work does not count";
  next.wait();
}

}  // namespace
}  // namespace krserve::engine
