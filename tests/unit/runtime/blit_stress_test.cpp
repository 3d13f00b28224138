// Eight threads at once on one blit queue, and every fault at every point of a mixed load.
#include <atomic>
#include <cstring>
#include <random>
#include <thread>

#include "device/cpu/cpu_device.h"
#include "support/discrete_cpu.h"
#include "unit/runtime/blit_fixture.h"

namespace krserve::runtime {
namespace {

constexpr uint32_t kThreads = 8;

// One thread's transfers: each upload is read back and compared. With `faults`, transfers may fail,
// and then with a DeviceError.
class Client {
 public:
  Client(Device& device, BlitQueue& blit, uint32_t id, bool faults)
      : device_(device), blit_(blit), random_(id), faults_(faults) {
    buffer_ = device_.new_buffer(kBytes, Storage::kShared);
  }

  void run(int rounds) {
    for (int i = 0; i < rounds; ++i) {
      try {
        round();
      } catch (const DeviceError&) {
        EXPECT_TRUE(faults_);
      }
      // An error of ours may have left uploads behind: later rounds use the same memory.
      while (wait_all() == WaitResult::kTimeout) {
      }
    }
    while (callbacks_ < callbacks_asked_) std::this_thread::yield();
  }

 private:
  static constexpr uint64_t kBytes = 400 << 10;

  WaitResult wait_all() {
    try {
      return blit_.wait_all(kLong);
    } catch (const DeviceError&) {
      EXPECT_TRUE(faults_);
      return WaitResult::kTimeout;  // once more: what is left was replaced
    }
  }

  void round() {
    const auto priority = static_cast<BlitPriority>(random_() % kBlitPriorities);
    const uint64_t bytes = random_() % 4 ? 1 + random_() % 4000 : 1 + random_() % kBytes;
    const Bytes in = pattern(bytes, random_());
    const std::vector<BlitId> ups = upload(in, priority);
    const BlitId up = ups.back();
    Bytes out(bytes);
    const BufferView view{buffer_.get(), 0, bytes};
    const BlitId down = blit_.download(out.data(), view, bytes, blit_.completion(up), priority);
    if (random_() % 8 == 0) return blit_.cancel(down);
    if (random_() % 4 == 0) {
      ++callbacks_asked_;
      blit_.on_complete(down, [this](const std::optional<std::string>&) { ++callbacks_; });
    }
    try {
      EXPECT_EQ(blit_.wait(down, kLong), WaitResult::kReached);
      for (const BlitId id : ups) EXPECT_EQ(blit_.wait(id, kLong), WaitResult::kReached);
      EXPECT_TRUE(out == in);
    } catch (const DeviceError&) {
      blit_.cancel(down);
      throw;
    }
    blit_.statistics();
  }

  std::vector<BlitId> upload(const Bytes& in, BlitPriority priority) {
    const BufferView view{buffer_.get(), 0, in.size()};
    if (random_() % 2) {
      return {blit_.upload_from(
          view, in.size(),
          [&](std::byte* out, uint64_t at, uint64_t n) { std::memcpy(out, in.data() + at, n); }, {},
          priority)};
    }
    // In two parts that may share a copy.
    const uint64_t half = in.size() / 2;
    const BlitId first = blit_.upload(view.sub(0, half), in.data(), half, {}, priority);
    return {first, blit_.upload(view.sub(half, in.size() - half), in.data() + half,
                                in.size() - half, {}, priority)};
  }

  Device& device_;
  BlitQueue& blit_;
  std::mt19937 random_;
  const bool faults_;
  std::unique_ptr<Buffer> buffer_;
  uint32_t callbacks_asked_ = 0;
  std::atomic<uint32_t> callbacks_{0};
};

void run_clients(const std::shared_ptr<Device>& device, BlitQueue& blit, bool faults, int rounds) {
  std::vector<std::thread> threads;
  for (uint32_t id = 0; id < kThreads; ++id) {
    threads.emplace_back([&, id] { Client(*device, blit, id, faults).run(rounds); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(blit.wait_all(kLong), WaitResult::kReached);
  EXPECT_EQ(blit.statistics().queue_depth, 0U);
}

TEST(BlitStress, EightThreadsOnTheCpusCopyThreads) {
  for (const bool shared_events : {true, false}) {
    const auto device = std::make_shared<test::DiscreteCpu>(1);
    BlitQueueConfig config = blit_config();
    config.max_pending_ops = 3;
    config.use_shared_events = shared_events;
    BlitQueue blit(device, config);
    run_clients(device, blit, false, 60);
    const BlitStatistics s = blit.statistics();
    EXPECT_EQ(s.failed_count, 0U);
    EXPECT_GE(s.total_uploads, kThreads * 60U);
    EXPECT_LE(s.peak_queue_depth, 6U);
  }
}

TEST(BlitStress, EightThreadsInSharedMemory) {
  const auto device = make_cpu_device({.threads = 1, .simd_level = {}, .spin_us = 0});
  BlitQueue blit(device, blit_config());
  run_clients(device, blit, false, 100);
  EXPECT_GT(blit.statistics().no_copy_count, 0U);
}

TEST(BlitStress, EightThreadsWithFaultsAmongTheirTransfers) {
  FakeOptions options;
  options.unified_memory = false;
  const auto device = std::make_shared<FakeDevice>(options);
  BlitQueueConfig config = blit_config();
  config.max_pending_ops = 4;
  BlitQueue blit(device, config);
  std::mt19937 random(3);
  for (uint64_t nth = 1; nth < 1500; nth += 1 + random() % 40) {
    device->inject(random() % 2 ? FakeFault::kExecution : FakeFault::kCommit, nth,
                   random() % 2 ? QueueKind::kCopyToDevice : QueueKind::kCopyToHost);
  }
  run_clients(device, blit, true, 60);
  device->clear_faults();
  run_clients(device, blit, false, 5);
}

// Everything the queue can do, once; each transfer is waited for and compared or throws.
class MixedLoad : public FakeBlit {
 protected:
  void SetUp() override { open(false); }

  void run() {
    const Bytes in = pattern(300 << 10);
    std::vector<BlitId> ids;
    attempt([&] {
      ids.push_back(blit_->upload_from(
          view(in.size()), in.size(),
          [&](std::byte* out, uint64_t at, uint64_t n) { std::memcpy(out, in.data() + at, n); }));
    });
    for (uint64_t i = 0; i < 3; ++i) {
      attempt([&] { ids.push_back(blit_->upload(view(50, 1 * kMiB + i * 50), in.data(), 50)); });
    }
    Bytes out(in.size());
    attempt([&] { ids.push_back(blit_->download(out.data(), view(in.size()), in.size())); });
    for (const BlitId id : ids) {
      const uint64_t before = callbacks_asked_++;
      blit_->on_complete(id, [this](const std::optional<std::string>&) { ++callbacks_; });
      EXPECT_EQ(callbacks_asked_, before + 1);
    }
    device_->release_hangs();
    for (const BlitId id : ids) attempt([&] { wait(id); });
  }
  template <class Action>
  void attempt(const Action& action) {
    try {
      action();
    } catch (const DeviceError&) {
      ++errors_;
    }
  }
  // What was lost by the device is found by a time-out. It stays pending: its memory goes now.
  void wait(BlitId id) {
    if (blit_->wait(id, kShort) != WaitResult::kTimeout) return;
    ++lost_;
    blit_->cancel(id);
  }
  void expect_whole() {
    const Bytes in = pattern(300 << 10, 77);
    Bytes out(in.size());
    blit_->wait(blit_->upload(view(in.size()), in.data(), in.size()), kLong);
    blit_->wait(blit_->download(out.data(), view(in.size()), in.size()), kLong);
    EXPECT_EQ(out, in);
    EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
    EXPECT_EQ(blit_->statistics().queue_depth, 0U);
    blit_.reset();
    EXPECT_EQ(callbacks_, callbacks_asked_) << "each is called once, in the end";
  }

  int errors_ = 0;
  int lost_ = 0;
  uint64_t callbacks_asked_ = 0;
  std::atomic<uint64_t> callbacks_{0};
};

TEST_F(MixedLoad, SurvivesEveryFaultAtEveryPoint) {
  for (const FakeFault fault :
       {FakeFault::kCommit, FakeFault::kExecution, FakeFault::kHang, FakeFault::kLostCompletion}) {
    for (const QueueKind kind : {QueueKind::kCopyToDevice, QueueKind::kCopyToHost}) {
      const uint64_t points = kind == QueueKind::kCopyToDevice ? 6 : 3;
      for (uint64_t nth = 1; nth <= points; ++nth) {
        open(false);
        errors_ = lost_ = 0;
        device_->inject(fault, nth, kind);
        run();
        if (fault == FakeFault::kCommit || fault == FakeFault::kExecution) {
          EXPECT_GE(errors_, 1) << static_cast<int>(fault) << " at " << nth;
        }
        device_->clear_faults();
        expect_whole();
      }
    }
  }
}

}  // namespace
}  // namespace krserve::runtime
