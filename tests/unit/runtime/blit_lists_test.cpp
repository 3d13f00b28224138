// Lists of pages: whole, in few command buffers, and like any other transfer in all else.
#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

#include "device/cpu/cpu_device.h"
#include "runtime/blit_queue/direct_blit.h"
#include "unit/runtime/blit_fixture.h"

namespace krserve::runtime {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// So many small copies take as long as a piece may.
constexpr uint64_t kCopiesOfAPiece = 64;

// Pages of device memory and of staging memory, in orders of their own: no two that follow each
// other in a list are neighbours.
class Pages {
 public:
  Pages(Device& device, uint64_t page_bytes, uint64_t count, Storage storage = Storage::kShared)
      : page_bytes_(page_bytes),
        device_(device.new_buffer(2 * page_bytes * count, storage)),
        host_(device.new_buffer(2 * page_bytes * count, Storage::kStaging)) {
    order_.resize(count);
    for (uint64_t i = 0; i < count; ++i) order_[i] = i;
    std::shuffle(order_.begin(), order_.end(), std::mt19937(7));
  }

  std::vector<ViewPair> ins() const {
    std::vector<ViewPair> out;
    for (uint64_t i = 0; i < order_.size(); ++i) out.push_back({device(i), host(i)});
    return out;
  }
  std::vector<ViewPair> outs() const {
    std::vector<ViewPair> out = ins();
    for (ViewPair& pair : out) std::swap(pair.dst, pair.src);
    return out;
  }
  BufferView device(uint64_t i) const {
    return {device_.get(), (2 * order_[i] + 1) * page_bytes_, page_bytes_};
  }
  BufferView host(uint64_t i) const { return {host_.get(), 2 * i * page_bytes_, page_bytes_}; }

  static Bytes bytes_of(const BufferView& view) {
    const auto* at = reinterpret_cast<const uint8_t*>(view.contents());
    return {at, at + view.bytes};
  }
  static void set(const BufferView& view, const Bytes& bytes) {
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<uint8_t*>(view.contents()));
  }
  // Every page of the host's end gets bytes of its own, and what lies between all others zeros.
  void fill_host(uint32_t seed) {
    set(whole(*host_), Bytes(host_->size_bytes(), 0));
    for (uint32_t i = 0; i < order_.size(); ++i) set(host(i), pattern(page_bytes_, seed + i));
  }
  void fill_device(uint32_t seed) {
    set(whole(*device_), Bytes(device_->size_bytes(), 0));
    for (uint32_t i = 0; i < order_.size(); ++i) set(device(i), pattern(page_bytes_, seed + i));
  }
  void clear_host() { set(whole(*host_), Bytes(host_->size_bytes(), 0)); }
  void clear_device() { set(whole(*device_), Bytes(device_->size_bytes(), 0)); }
  // How many pages are there, in either.
  uint64_t in_host(uint32_t seed) const { return matching(seed, &Pages::host); }
  uint64_t in_device(uint32_t seed) const { return matching(seed, &Pages::device); }
  // What lies before the pages: nobody's.
  bool device_gaps_are_clean() const {
    for (uint64_t i = 0; i < order_.size(); ++i) {
      BufferView gap = device(i);
      gap.offset -= page_bytes_;
      if (bytes_of(gap) != Bytes(page_bytes_, 0)) return false;
    }
    return true;
  }
  uint64_t bytes() const { return page_bytes_ * order_.size(); }

 private:
  uint64_t matching(uint32_t seed, BufferView (Pages::*view)(uint64_t) const) const {
    uint64_t count = 0;
    for (uint32_t i = 0; i < order_.size(); ++i) {
      count += bytes_of((this->*view)(i)) == pattern(page_bytes_, seed + i) ? 1 : 0;
    }
    return count;
  }

  const uint64_t page_bytes_;
  std::unique_ptr<Buffer> device_;
  std::unique_ptr<Buffer> host_;
  std::vector<uint64_t> order_;
};

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "no error";
}

struct Case {
  const char* name;
  bool unified;
  bool shared_events;
};

class BlitListContents : public FakeBlit, public ::testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    BlitQueueConfig config = blit_config();
    config.use_shared_events = GetParam().shared_events;
    open(GetParam().unified, false, config);
  }
};

TEST_P(BlitListContents, LandWholeBothWaysAndAreOneTransfer) {
  for (const uint64_t page : {uint64_t{1}, uint64_t{100}, uint64_t{4099}}) {
    blit_->reset_statistics();
    Pages pages(*device_, page, 150);
    pages.fill_host(3);
    EXPECT_EQ(blit_->wait(blit_->upload_staged(pages.ins()), kLong), WaitResult::kReached);
    EXPECT_EQ(pages.in_device(3), 150U);
    EXPECT_TRUE(pages.device_gaps_are_clean());
    pages.clear_host();
    EXPECT_EQ(blit_->wait(blit_->download_staged(pages.outs()), kLong), WaitResult::kReached);
    EXPECT_EQ(pages.in_host(3), 150U);
    const BlitStatistics s = blit_->statistics();
    EXPECT_EQ(s.total_uploads, 1U);
    EXPECT_EQ(s.total_downloads, 1U);
    EXPECT_EQ(s.upload_bytes, pages.bytes());
    EXPECT_EQ(s.download_bytes, pages.bytes());
    EXPECT_EQ(s.no_copy_count, GetParam().unified ? 2U : 0U);
    EXPECT_EQ(s.queue_depth, 0U);
  }
}

TEST_P(BlitListContents, WaitForThePointTheyAreGiven) {
  Pages pages(*device_, 100, 150);
  pages.fill_host(3);
  auto gate = device_->new_timeline();
  std::thread opener([&] {
    std::this_thread::sleep_for(kShort);
    EXPECT_EQ(pages.in_device(3), 0U);
    gate->signal(1);
  });
  const BlitId up = blit_->upload_staged(pages.ins(), {gate, 1});
  opener.join();  // with polling the call waits for it
  EXPECT_EQ(blit_->wait(up, kLong), WaitResult::kReached);
  EXPECT_EQ(pages.in_device(3), 150U);
}

TEST_P(BlitListContents, MayBeEmptyAndHoldPairsOfNothing) {
  EXPECT_EQ(blit_->upload_staged(std::span<const ViewPair>{}), 0U);
  EXPECT_EQ(blit_->download_staged(std::span<const ViewPair>{}), 0U);
  const std::vector<ViewPair> nothing(3);
  EXPECT_EQ(blit_->upload_staged(nothing), 0U);
  EXPECT_EQ(blit_->download_staged(nothing), 0U);
  EXPECT_EQ(blit_->statistics().total_uploads, 0U);
  EXPECT_EQ(device_->count_calls("commit"), 0U);
  Pages pages(*device_, 100, 3);
  pages.fill_host(1);
  std::vector<ViewPair> some = pages.ins();
  some.insert(some.begin() + 1, ViewPair{});
  some.push_back({pages.device(0).sub(0, 0), pages.host(0).sub(0, 0)});
  EXPECT_EQ(blit_->wait(blit_->upload_staged(some), kLong), WaitResult::kReached);
  EXPECT_EQ(pages.in_device(1), 3U);
}

TEST_P(BlitListContents, WithAWrongPairAreRefusedWithTheNumbersBeforeAnythingStarts) {
  Pages pages(*device_, 100, 3);
  pages.fill_host(1);
  for (const int64_t by : {-1, 1}) {
    std::vector<ViewPair> pairs = pages.ins();
    pairs[1].src.bytes += static_cast<uint64_t>(by);
    EXPECT_THAT(message_of([&] { blit_->upload_staged(pairs); }),
                AllOf(HasSubstr("pair 2 of 3"), HasSubstr(std::to_string(100 + by) + " bytes"),
                      HasSubstr("view of 100")));
    pairs = pages.outs();
    pairs[2].dst.bytes += static_cast<uint64_t>(by);
    EXPECT_THAT(message_of([&] { blit_->download_staged(pairs); }),
                AllOf(HasSubstr("pair 3 of 3"), HasSubstr("100 bytes"),
                      HasSubstr("view of " + std::to_string(100 + by))));
  }
  std::vector<ViewPair> beyond = pages.ins();
  beyond[2].dst.offset = 550;
  EXPECT_THAT(message_of([&] { blit_->upload_staged(beyond); }),
              AllOf(HasSubstr("pair 3 of 3"), HasSubstr("100 bytes at 550 of a buffer of 600")));
  beyond[2].dst.buffer = nullptr;
  EXPECT_THROW(blit_->upload_staged(beyond), DeviceError);
  EXPECT_EQ(pages.in_device(1), 0U) << "not the pairs before it either";
  EXPECT_EQ(device_->count_calls("commit"), 0U);
  EXPECT_EQ(blit_->statistics().total_uploads, 0U);
  EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
}

INSTANTIATE_TEST_SUITE_P(Memory, BlitListContents,
                         ::testing::Values(Case{"Unified", true, true},
                                           Case{"UnifiedPolling", true, false},
                                           Case{"Discrete", false, true},
                                           Case{"DiscretePolling", false, false}),
                         [](const auto& tested) { return std::string(tested.param.name); });

class BlitLists : public FakeBlit {
 protected:
  uint64_t commits() const { return device_->count_calls("commit"); }
  uint64_t stalls(BlitStall cause) const {
    return blit_->statistics().stalls[static_cast<size_t>(cause)];
  }
  template <class Condition>
  static void wait_until(Condition condition) {
    while (!condition()) std::this_thread::yield();
  }
};

TEST_F(BlitLists, GoInAsFewCommandBuffersAsThePieceAllows) {
  struct Shape {
    uint64_t bytes;
    uint64_t count;
    uint64_t commits;
  };
  for (const Shape& shape :
       {Shape{100, 1, 1}, Shape{100, kCopiesOfAPiece, 1}, Shape{100, kCopiesOfAPiece + 1, 2},
        Shape{100, 3 * kCopiesOfAPiece, 3}, Shape{917504, 9, 1}, Shape{917504, 10, 2},
        Shape{3 * kMiB, 5, 3}, Shape{8 * kMiB, 2, 2}, Shape{20 * kMiB, 1, 3}}) {
    open(false);
    Pages pages(*device_, shape.bytes, shape.count);
    blit_->wait(blit_->upload_staged(pages.ins()));
    EXPECT_EQ(commits(), shape.commits) << shape.count << " of " << shape.bytes;
    blit_->wait(blit_->download_staged(pages.outs()));
    EXPECT_EQ(commits(), 2 * shape.commits) << shape.count << " of " << shape.bytes;
  }
}

TEST_F(BlitLists, LetAStepTransferPassBetweenTwoPieces) {
  open(false, true);
  Pages pages(*device_, 100, 5 * kCopiesOfAPiece);
  pages.fill_host(1);
  BlitId list = 0;
  std::thread streamer([&] { list = blit_->upload_staged(pages.ins()); });
  wait_until([&] { return stalls(BlitStall::kPendingLimit) == 1; });
  EXPECT_EQ(commits(), 2U) << "one is copied, the next is ready";
  const Bytes params = pattern(100, 2);
  const BlitId step = blit_->upload(view(100), params.data(), 100);
  const TimelinePoint uploaded = blit_->completion(step);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(device_->step());
  EXPECT_FALSE(uploaded.reached()) << "behind the pieces that were queued before";
  EXPECT_TRUE(device_->step());
  EXPECT_TRUE(uploaded.reached());
  EXPECT_EQ(contents(100), params);
  EXPECT_EQ(pages.in_device(1), 2 * kCopiesOfAPiece) << "the list is on its way";
  for (int pieces = 2; pieces < 5;) pieces += device_->step() ? 1 : 0;
  streamer.join();
  EXPECT_EQ(blit_->wait(list, kLong), WaitResult::kReached);
  EXPECT_EQ(pages.in_device(1), 5 * kCopiesOfAPiece);
}

// Short pieces are over before a host that saw the first of two end could queue a third.
TEST_F(BlitLists, ThreePiecesAreQueuedWhereTheyAreShort) {
  open(false, true);
  Pages pages(*device_, 100, 8);
  std::thread streamer([&] {
    for (int i = 0; i < 4; ++i) blit_->upload_staged(pages.ins());
  });
  wait_until([&] { return stalls(BlitStall::kPendingLimit) == 1; });
  EXPECT_EQ(commits(), 3U);
  EXPECT_TRUE(device_->step());
  streamer.join();
  run_all();
}

TEST_F(BlitLists, TakeNoStagingMemoryOfTheQueue) {
  open(false, true);
  Pages pages(*device_, 512 << 10, 8);
  blit_->upload_staged(pages.ins());
  const Bytes in = pattern(512 << 10);  // all that the ring has
  blit_->upload(view(in.size()), in.data(), in.size());
  EXPECT_EQ(blit_->statistics().stall_count, 0U);
  run_all();
  EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
}

TEST_F(BlitLists, CancelledInTheMiddleAreWaitedFor) {
  open(false, true);
  Pages pages(*device_, 100, 3 * kCopiesOfAPiece);
  pages.fill_device(1);
  BlitId list = 0;
  std::thread streamer([&] { list = blit_->download_staged(pages.outs()); });
  wait_until([&] { return stalls(BlitStall::kPendingLimit) == 1; });
  EXPECT_TRUE(device_->step());
  streamer.join();
  EXPECT_EQ(pages.in_host(1), kCopiesOfAPiece);
  std::atomic<bool> cancelled{false};
  std::thread canceller([&] {
    blit_->cancel(list);
    cancelled = true;
  });
  wait_until([&] { return blit_->statistics().cancelled_count == 1; });
  for (int left = 2; left > 0; --left) {
    std::this_thread::sleep_for(kShort);
    EXPECT_FALSE(cancelled) << left << " pieces still write to the caller's memory";
    EXPECT_TRUE(device_->step());
  }
  canceller.join();
  pages.clear_host();
  run_all();
  EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
  EXPECT_EQ(pages.in_host(1), 0U);
}

TEST_F(BlitLists, CancelledInSharedMemoryAreNotWritten) {
  open(true);
  Pages pages(*device_, 100, 10);
  pages.fill_device(1);
  auto never = device_->new_timeline();
  const BlitId list = blit_->download_staged(pages.outs(), {never, 1});
  EXPECT_EQ(blit_->wait(list, kShort), WaitResult::kTimeout);
  blit_->cancel(list);
  never->signal(1);
  EXPECT_EQ(blit_->wait(list, kLong), WaitResult::kReached);
  EXPECT_EQ(pages.in_host(1), 0U);
  EXPECT_EQ(blit_->statistics().cancelled_count, 1U);
}

TEST_F(BlitLists, FailAsAWholeWhicheverPieceFailsAndTheNextWorks) {
  for (const FakeFault fault : {FakeFault::kExecution, FakeFault::kCommit}) {
    for (uint64_t nth = 1; nth <= 3; ++nth) {
      open(false);
      Pages pages(*device_, 100, 3 * kCopiesOfAPiece);
      pages.fill_host(1);
      device_->inject(fault, nth, QueueKind::kCopyToDevice);
      EXPECT_THAT(message_of([&] { blit_->wait(blit_->upload_staged(pages.ins()), kLong); }),
                  HasSubstr("injected fault"));
      device_->inject(fault, nth, QueueKind::kCopyToHost);
      EXPECT_THAT(message_of([&] { blit_->wait(blit_->download_staged(pages.outs()), kLong); }),
                  HasSubstr("injected fault"));
      pages.fill_host(50);
      EXPECT_EQ(blit_->wait(blit_->upload_staged(pages.ins()), kLong), WaitResult::kReached);
      pages.clear_host();
      EXPECT_EQ(blit_->wait(blit_->download_staged(pages.outs()), kLong), WaitResult::kReached);
      EXPECT_EQ(pages.in_host(50), 3 * kCopiesOfAPiece) << nth;
      EXPECT_EQ(blit_->statistics().queue_depth, 0U);
    }
  }
}

// Its staging memory may go when the call has thrown.
TEST_F(BlitLists, RefusedInTheMiddleAreOverWhenTheCallThrows) {
  open(false, true);
  Pages pages(*device_, 100, 3 * kCopiesOfAPiece);
  pages.fill_device(1);
  device_->inject(FakeFault::kCommit, 2, QueueKind::kCopyToHost);
  std::atomic<bool> thrown{false};
  std::thread streamer([&] {
    EXPECT_THROW(blit_->download_staged(pages.outs()), DeviceError);
    thrown = true;
  });
  wait_until([&] { return commits() == 1; });
  std::this_thread::sleep_for(kShort);
  EXPECT_FALSE(thrown) << "the first piece writes to the caller's memory";
  EXPECT_TRUE(device_->step());
  streamer.join();
  pages.clear_host();
  run_all();
  EXPECT_EQ(pages.in_host(1), 0U);
  EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
}

TEST_F(BlitLists, AStepThatFailedFailsTheListThatWaitsForIt) {
  for (const bool unified : {false, true}) {
    open(unified);
    Pages pages(*device_, 100, 3);
    auto broken = device_->new_timeline();
    broken->poison("step 12 failed");
    EXPECT_THAT(
        message_of([&] { blit_->wait(blit_->download_staged(pages.outs(), {broken, 1}), kLong); }),
        HasSubstr("step 12 failed"));
    EXPECT_THAT(
        message_of([&] { blit_->wait(blit_->upload_staged(pages.ins(), {broken, 1}), kLong); }),
        HasSubstr("step 12 failed"));
  }
}

// In shared memory a later upload must not overtake any page of a list that still waits.
TEST_F(BlitLists, UploadsToAPlaceOfAListStayBehindIt) {
  for (uint64_t i = 0; i < 3; ++i) {
    open(true);
    Pages pages(*device_, 100, 3);
    pages.fill_host(1);
    auto gate = device_->new_timeline();
    const BlitId list = blit_->upload_staged(pages.ins(), {gate, 1});
    const Bytes other = pattern(100, 77);
    EXPECT_NE(blit_->upload(pages.device(i), other.data(), 100), 0U) << i;
    EXPECT_NE(blit_->upload_staged(pages.device(i), pages.host(i)), 0U) << "nor does a page";
    Pages elsewhere(*device_, 100, 3);
    EXPECT_EQ(blit_->upload_staged(elsewhere.ins()), 0U) << "it is a store";
    gate->signal(1);
    EXPECT_EQ(blit_->wait(list, kLong), WaitResult::kReached);
    EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
    EXPECT_EQ(pages.in_device(1), 3U) << i;
  }
}

TEST_F(BlitLists, AreTimedPieceByPiece) {
  open(false);
  device_->set_duration("upload", 2'000'000);
  Pages pages(*device_, 100, 3 * kCopiesOfAPiece);
  blit_->wait(blit_->upload_staged(pages.ins()));
  const BlitStatistics s = blit_->statistics();
  EXPECT_DOUBLE_EQ(s.avg_upload_ms, 6.0);
  EXPECT_DOUBLE_EQ(s.upload_gb_per_s, static_cast<double>(pages.bytes()) / 6e6);
}

TEST_F(BlitLists, ArePacedWhileStepsRun) {
  for (const bool unified : {false, true}) {
    BlitQueueConfig config = blit_config();
    config.background_mb_per_s = 10;
    open(unified, false, config);
    Pages pages(*device_, 20'000, 5);
    const auto stream = [&](BlitPriority priority) {
      blit_->wait(blit_->upload_staged(pages.ins(), {}, priority));
      blit_->wait(blit_->download_staged(pages.outs(), {}, priority));
      return stalls(BlitStall::kPaced);
    };
    EXPECT_EQ(stream(BlitPriority::kKv), 0U) << "no step has run";
    blit_->add_compute({1, 2});
    EXPECT_EQ(stream(BlitPriority::kStep), 0U);
    EXPECT_GE(stream(BlitPriority::kKv), unified ? 2U : 1U) << "shared memory: page by page";
  }
}

class CutterTest : public FakeBlit {
 protected:
  void SetUp() override { open(false); }
  static ViewPair pair_of(Buffer& a, uint64_t dst, Buffer& b, uint64_t src, uint64_t bytes) {
    return {{&a, dst, bytes}, {&b, src, bytes}};
  }
};

TEST_F(CutterTest, NeighboursAtBothEndsAreOneCopy) {
  Buffer& a = *data_;
  const auto other = device_->new_buffer(1000, Storage::kStaging);
  Buffer& b = *other;
  const std::vector<ViewPair> pairs = {
      pair_of(a, 0, b, 100, 50),  pair_of(a, 50, b, 150, 30), pair_of(a, 80, b, 200, 10),
      pair_of(a, 95, b, 210, 10), pair_of(b, 105, b, 220, 5),
  };
  const std::vector<ViewPair> copies = CopyCutter(pairs).next(kMiB);
  ASSERT_EQ(copies.size(), 4U);
  EXPECT_EQ(copies[0].dst.bytes, 80U);
  EXPECT_EQ(copies[0].src.bytes, 80U);
  EXPECT_EQ(copies[1].src.offset, 200U);
  EXPECT_EQ(copies[1].src.bytes, 10U);
  EXPECT_EQ(copies[3].dst.buffer, &b);
  EXPECT_EQ(bytes_of(copies), bytes_of(pairs));
}

TEST_F(CutterTest, PairsGoWholeUnlessTheyAreLargerThanAPiece) {
  Buffer& a = *data_;
  const std::vector<ViewPair> pairs = {
      pair_of(a, 0, a, 2 * kMiB, 300 << 10),
      pair_of(a, 1 * kMiB, a, 3 * kMiB, 300 << 10),
      pair_of(a, 600 << 10, a, 2600 << 10, 1100 << 10),
      pair_of(a, 0, a, 0, 100 << 10),
  };
  CopyCutter cutter(pairs);
  std::vector<std::vector<uint64_t>> pieces;
  while (!cutter.is_done()) {
    pieces.emplace_back();
    for (const ViewPair& copy : cutter.next(512 << 10)) {
      pieces.back().push_back(copy.src.bytes >> 10);
    }
  }
  EXPECT_EQ(pieces, (std::vector<std::vector<uint64_t>>{{300}, {300}, {512}, {512}, {76, 100}}));
}

TEST(BlitListsDirect, AreOneCommandBufferThatIsOverOnReturn) {
  const auto device = std::make_shared<FakeDevice>();
  DirectBlit blit(device);
  Pages pages(*device, 4099, 100);
  pages.fill_host(1);
  EXPECT_EQ(blit.upload_staged(pages.ins()), 0U);
  EXPECT_EQ(device->count_calls("commit"), 1U);
  EXPECT_EQ(pages.in_device(1), 100U);
  pages.clear_host();
  EXPECT_EQ(blit.download_staged(pages.outs()), 0U);
  EXPECT_EQ(pages.in_host(1), 100U);
  EXPECT_EQ(blit.upload_staged(std::vector<ViewPair>(2)), 0U);
  EXPECT_EQ(blit.upload_staged(std::span<const ViewPair>{}), 0U);
  std::vector<ViewPair> wrong = pages.ins();
  wrong[99].src.bytes = 10;
  EXPECT_THAT(message_of([&] { blit.upload_staged(wrong); }),
              AllOf(HasSubstr("pair 100 of 100"), HasSubstr("10 bytes"), HasSubstr("4099")));
  const BlitStatistics s = blit.statistics();
  EXPECT_EQ(device->count_calls("commit"), 2U);
  EXPECT_EQ(s.total_uploads, 1U);
  EXPECT_EQ(s.upload_bytes, pages.bytes());
  EXPECT_EQ(s.download_bytes, pages.bytes());
}

TEST(BlitListsOnTheCpu, AreStoresAndReadsOrCopiesBehindAPoint) {
  auto device = make_cpu_device({.threads = 1, .simd_level = {}, .spin_us = 0});
  BlitQueue queued(device, blit_config());
  DirectBlit direct(device);
  for (Transfers* blit : {static_cast<Transfers*>(&queued), static_cast<Transfers*>(&direct)}) {
    Pages pages(*device, 50'000, 40);
    pages.fill_host(1);
    EXPECT_EQ(blit->upload_staged(pages.ins()), 0U);
    EXPECT_EQ(pages.in_device(1), 40U);
    pages.fill_host(100);
    auto gate = device->new_timeline();
    std::thread opener([&] { gate->signal(1); });
    const BlitId up = blit->upload_staged(pages.ins(), {gate, 1});
    EXPECT_EQ(blit->wait(up, kLong), WaitResult::kReached);
    opener.join();
    EXPECT_EQ(pages.in_device(100), 40U);
    pages.clear_host();
    const BlitId down = blit->download_staged(pages.outs(), {gate, 1});
    EXPECT_EQ(blit->wait(down, kLong), WaitResult::kReached);
    EXPECT_EQ(pages.in_host(100), 40U);
  }
  EXPECT_GE(queued.statistics().no_copy_count, 2U);
}

}  // namespace
}  // namespace krserve::runtime
