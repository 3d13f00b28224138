#include <condition_variable>
#include <mutex>
#include <thread>

#include "unit/runtime/blit_fixture.h"
#include "unit/runtime/log_capture.h"

namespace krserve::runtime {
namespace {

using ::testing::HasSubstr;

// What callbacks said, for the test's thread to wait for.
class Outcomes {
 public:
  BlitCallback callback() {
    return [this](const std::optional<std::string>& error) {
      const std::lock_guard lock(mutex_);
      errors_.push_back(error.value_or("ok"));
      thread_ = std::this_thread::get_id();
      changed_.notify_all();
    };
  }
  std::vector<std::string> wait(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return errors_.size() >= count; });
    return errors_;
  }
  std::thread::id thread() {
    const std::lock_guard lock(mutex_);
    return thread_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> errors_;
  std::thread::id thread_;
};

class BlitCallbacks : public FakeBlit, public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    BlitQueueConfig config = blit_config();
    config.use_shared_events = GetParam();
    open(false, false, config);
  }
};

TEST_P(BlitCallbacks, ComeAfterTheBytesOnAThreadOfTheQueue) {
  const Bytes in = pattern(300 << 10);
  Bytes out(in.size());
  Outcomes up;
  Outcomes down;
  const BlitId id = blit_->upload(view(in.size()), in.data(), in.size());
  blit_->on_complete(id, up.callback());
  const BlitId back =
      blit_->download(out.data(), view(in.size()), in.size(), blit_->completion(id));
  blit_->on_complete(back, [&](const std::optional<std::string>& error) {
    EXPECT_EQ(out, in) << "the destination is valid";
    down.callback()(error);
  });
  EXPECT_EQ(up.wait(1), std::vector<std::string>{"ok"});
  EXPECT_EQ(down.wait(1), std::vector<std::string>{"ok"});
  // The fake device runs on the thread that commits: this one.
  EXPECT_NE(up.thread(), std::this_thread::get_id());
  EXPECT_NE(up.thread(), down.thread());
}

TEST_P(BlitCallbacks, MayUseTheQueueThemselves) {
  const Bytes in = pattern(1000);
  Bytes out(1000);
  Outcomes outcomes;
  const BlitId id = blit_->upload(view(1000), in.data(), 1000);
  blit_->on_complete(id, [&](const std::optional<std::string>&) {
    EXPECT_EQ(blit_->statistics().total_uploads, 1U);
    const BlitId more = blit_->upload(view(1000, 1000), in.data(), 1000);
    EXPECT_EQ(blit_->wait(more, kLong), WaitResult::kReached);
    const BlitId back = blit_->download(out.data(), view(1000, 1000), 1000);
    blit_->on_complete(back, outcomes.callback());
  });
  EXPECT_EQ(outcomes.wait(1), std::vector<std::string>{"ok"});
  EXPECT_EQ(out, in);
}

TEST_P(BlitCallbacks, AreToldOfFailures) {
  const Bytes in = pattern(100);
  Outcomes outcomes;
  device_->inject(FakeFault::kExecution, 1, QueueKind::kCopyToDevice);
  blit_->on_complete(blit_->upload(view(100), in.data(), 100), outcomes.callback());
  EXPECT_THAT(outcomes.wait(1)[0], HasSubstr("injected fault"));
  blit_->on_complete(blit_->upload(view(100), in.data(), 100), outcomes.callback());
  EXPECT_EQ(outcomes.wait(2)[1], "ok");
}

TEST_P(BlitCallbacks, OfATransferThatHasEndedComeToo) {
  const Bytes in = pattern(100);
  Outcomes outcomes;
  const BlitId id = blit_->upload(view(100), in.data(), 100);
  blit_->wait(id, kLong);
  blit_->on_complete(id, outcomes.callback());
  blit_->on_complete(0, outcomes.callback());
  EXPECT_EQ(outcomes.wait(2), (std::vector<std::string>{"ok", "ok"}));
  EXPECT_NE(outcomes.thread(), std::this_thread::get_id());
}

TEST_P(BlitCallbacks, OfACancelledDownloadSaySo) {
  device_->inject(FakeFault::kHang, 1, QueueKind::kCopyToHost);
  Bytes out(100, 0);
  Outcomes outcomes;
  const BlitId id = blit_->download(out.data(), view(100), 100);
  blit_->on_complete(id, outcomes.callback());
  blit_->cancel(id);
  EXPECT_THAT(outcomes.wait(1)[0], HasSubstr("cancelled"));
  EXPECT_EQ(blit_->statistics().cancelled_count, 1U);
  device_->release_hangs();
}

TEST_P(BlitCallbacks, ComeInSharedMemoryWithoutAWaiter) {
  BlitQueueConfig config = blit_config();
  config.use_shared_events = GetParam();
  open(true, false, config);
  auto gate = device_->new_timeline();
  set_contents(pattern(100));
  Bytes out(100, 0);
  Outcomes outcomes;
  blit_->on_complete(blit_->download(out.data(), view(100), 100, {gate, 1}), outcomes.callback());
  gate->signal(1);
  EXPECT_EQ(outcomes.wait(1), std::vector<std::string>{"ok"});
  EXPECT_EQ(out, pattern(100));
  EXPECT_EQ(blit_->statistics().sync_wait_count, 0U) << "the engine did not wait";
}

TEST_P(BlitCallbacks, ThatAreLeftAtTheEndGetAnError) {
  device_->inject(FakeFault::kHang, 1, QueueKind::kCopyToDevice);
  const Bytes in = pattern(100);
  Outcomes outcomes;
  blit_->on_complete(blit_->upload(view(100), in.data(), 100), outcomes.callback());
  blit_.reset();
  EXPECT_THAT(outcomes.wait(1)[0], HasSubstr("destroyed"));
}

TEST_P(BlitCallbacks, ThatThrowAreLoggedAndTheNextIsCalled) {
  LogCapture capture;
  const Bytes in = pattern(100);
  Outcomes outcomes;
  const BlitId id = blit_->upload(view(100), in.data(), 100);
  blit_->on_complete(id, [](const std::optional<std::string>&) {
    throw Error("test.callback", "thrown on purpose");
  });
  blit_->on_complete(id, outcomes.callback());
  EXPECT_EQ(outcomes.wait(1), std::vector<std::string>{"ok"});
  EXPECT_EQ(capture.count("thrown on purpose"), 1);
}

INSTANTIATE_TEST_SUITE_P(Events, BlitCallbacks, ::testing::Bool(), [](const auto& tested) {
  return std::string(tested.param ? "Shared" : "Polling");
});

}  // namespace
}  // namespace krserve::runtime
