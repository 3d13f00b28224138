// What the system's profiler is told of a short run: intervals of steps, copies and phases.
#include <gtest/gtest.h>

#include "device/fake/fake_device.h"
#include "runtime/trace/trace.h"
#include "support/engine_client.h"
#include "support/recorded_signposts.h"

namespace krserve::engine {
namespace {

using runtime::TraceRecorder;
using test::greedy_request;
using test::RecordedSignposts;
using test::small_config;
using test::submit;

constexpr uint32_t kTokens = 12;

class EngineSignposts : public ::testing::Test {
 protected:
  void open(const RuntimeConfig& config, bool unified) {
    FakeOptions options;
    options.unified_memory = unified;
    device_ = std::make_shared<FakeDevice>(options);
    trace_->set_signposts(signposts_);
    engine_ = Engine::create(config, test::golden_dir("qwen2-q4-g64"), {}, device_, trace_);
  }
  void generate() { submit(*engine_, greedy_request({1, 2, 3}, kTokens)).wait(); }
  void close() {
    engine_->drain(30'000'000'000);
    engine_.reset();
    EXPECT_TRUE(signposts_->wrong().empty()) << signposts_->wrong().front();
    EXPECT_EQ(signposts_->open(), 0U);
  }

  std::shared_ptr<RecordedSignposts> signposts_ = std::make_shared<RecordedSignposts>();
  // Keeps nothing itself: what a run without --trace has.
  std::shared_ptr<TraceRecorder> trace_ = std::make_shared<TraceRecorder>(0);
  std::shared_ptr<FakeDevice> device_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineSignposts, PairUpWithEveryComponentOnAndOff) {
  for (const bool unified : {true, false}) {
    for (const bool blit : {true, false}) {
      for (const bool ring : {true, false}) {
        SCOPED_TRACE(testing::Message()
                     << "unified " << unified << ", blit " << blit << ", ring " << ring);
        signposts_ = std::make_shared<RecordedSignposts>();
        trace_ = std::make_shared<TraceRecorder>(0);
        open(small_config(true, blit, ring), unified);
        generate();
        close();
        EXPECT_EQ(signposts_->begun(Signpost::kStep, "in flight"), kTokens);
        EXPECT_GE(signposts_->begun(Signpost::kUpload, "copy"), kTokens);
        EXPECT_GE(signposts_->begun(Signpost::kDownload, "copy"), kTokens);
        EXPECT_GE(signposts_->begun(Signpost::kPhase, "commit"), kTokens);
        // With the ring, a step of this device is over before anybody could wait for it.
        if (!ring) {
          EXPECT_EQ(signposts_->begun(Signpost::kPhase, "wait for step"), kTokens);
        }
        EXPECT_GE(signposts_->begun(Signpost::kPhase, "schedule"), kTokens);
        EXPECT_TRUE(trace_->events().empty());
      }
    }
  }
}

TEST_F(EngineSignposts, AreNotMadeWhereNobodyListens) {
  signposts_->listen(false);
  open(small_config(true, true, true), true);
  generate();
  close();
  EXPECT_EQ(signposts_->begun(), 0U);
}

TEST_F(EngineSignposts, PairUpWhenTheListenerComesAndGoes) {
  open(small_config(true, true, true), false);
  const auto running = submit(*engine_, greedy_request({1, 2, 3}, kTokens));
  for (int i = 0; i < 50; ++i) signposts_->listen(i % 2 == 0);
  running.wait();
  signposts_->listen(false);
  close();
}

TEST_F(EngineSignposts, EndWithTheStepOrTheCopyThatFails) {
  for (const QueueKind queue : {QueueKind::kCompute, QueueKind::kCopyToDevice}) {
    for (const FakeFault fault : {FakeFault::kCommit, FakeFault::kExecution}) {
      signposts_ = std::make_shared<RecordedSignposts>();
      trace_ = std::make_shared<TraceRecorder>(0);
      open(small_config(true, true, true), false);
      device_->inject(fault, 1, queue);
      generate();  // fails
      device_->clear_faults();
      generate();
      close();
      EXPECT_GE(signposts_->begun(Signpost::kStep, "in flight"), kTokens);
    }
  }
}

}  // namespace
}  // namespace krserve::engine
