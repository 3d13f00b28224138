// What Metal allows, the model allows, in every order; and it fails as Metal does when told to.
#include <gmock/gmock.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <semaphore>
#include <set>

#include "metal/bench.h"

namespace krserve::fake_metal {
namespace {

using namespace metal;
using std::chrono::seconds;
using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint32_t kSlots = 3;
constexpr uint32_t kSteps = 12;
constexpr uint64_t kPatienceMs = 10'000;

std::vector<float> contents(const Owned<MTLBuffer>& buffer) {
  const auto* const values = static_cast<const float*>(buffer->contents());
  return {values, values + kElements};
}

// One run of a test with its own order of completion.
class MetalModel : public testing::TestWithParam<uint32_t> {
 protected:
  static Options options(int macos = 26) {
    Options out;
    out.seed = GetParam();
    out.macos = macos;
    return out;
  }
};

TEST_P(MetalModel, Metal3RingAddsOncePerStep) {
  Bench bench(options(15));
  std::counting_semaphore<kSlots> slots(kSlots);
  for (uint64_t step = 1; step <= kSteps; ++step) {
    const AutoreleaseScope scope;
    slots.acquire();
    MTLCommandBuffer* const commands = bench.queue->command_buffer();
    commands->set_label(NSString::from("step"));
    if (step > 1) commands->encode_wait(bench.event.get(), step - 1);
    MTLComputeCommandEncoder* const encoder =
        commands->compute_encoder(MTLDispatchType::kConcurrent);
    bench.axpy(encoder, bench.y.get(), bench.x.get());
    encoder->end_encoding();
    commands->encode_signal(bench.event.get(), step);
    commands->add_completed_handler([&slots](MTLCommandBuffer*) { slots.release(); });
    commands->commit();
  }
  ASSERT_TRUE(bench.event->wait_until(kSteps, kPatienceMs));
  for (uint32_t i = 0; i < kSlots; ++i) slots.acquire();
  EXPECT_THAT(contents(bench.y), Each(static_cast<float>(kSteps)));
  ASSERT_TRUE(Gpu::get().wait_idle(seconds(10)));
  EXPECT_THAT(violation_texts(), IsEmpty());
}

struct Slot {
  Owned<MTL4CommandAllocator> allocator;
  Owned<MTL4CommandBuffer> commands;
  uint64_t fence = 0;
};

TEST_P(MetalModel, Metal4RingAddsOncePerStep) {
  Bench bench(options());
  Slot slots[kSlots];
  for (Slot& slot : slots) {
    slot.allocator = Owned<MTL4CommandAllocator>(bench.device->new_command_allocator());
    slot.commands = Owned<MTL4CommandBuffer>(bench.device->new_command_buffer4());
  }
  std::atomic<uint32_t> feedbacks = 0;
  for (uint64_t step = 1; step <= kSteps; ++step) {
    const AutoreleaseScope scope;
    Slot& slot = slots[step % kSlots];
    ASSERT_TRUE(bench.event->wait_until(slot.fence, kPatienceMs));
    slot.allocator->reset();
    slot.commands->begin(slot.allocator.get());
    MTL4ComputeCommandEncoder* const encoder = slot.commands->compute_encoder();
    encoder->queue_barrier(kAllStages, kAllStages, kVisible);
    bench.axpy(encoder, bench.y.get(), bench.x.get());
    encoder->end_encoding();
    slot.commands->end();
    const auto options4 = make_object<MTL4CommitOptions>();
    options4->add_feedback_handler([&feedbacks](MTL4CommitFeedback* feedback) {
      const bool good =
          !feedback->error() && feedback->gpu_start_time() <= feedback->gpu_end_time();
      feedbacks += good ? 1 : 1000;
    });
    const MTL4CommandBuffer* const list[] = {slot.commands.get()};
    bench.queue4->commit(list, 1, options4.get());
    bench.queue4->signal(bench.event.get(), slot.fence = step);
  }
  ASSERT_TRUE(bench.event->wait_until(kSteps, kPatienceMs));
  ASSERT_TRUE(Gpu::get().wait_idle(seconds(10)));
  EXPECT_EQ(feedbacks, kSteps);
  EXPECT_THAT(contents(bench.y), Each(static_cast<float>(kSteps)));
  EXPECT_THAT(violation_texts(), IsEmpty());
}

TEST_P(MetalModel, BarriersOrderACopyAndADispatchOfOneEncoder) {
  Bench bench(options());
  bench.commit4([&bench](MTL4ComputeCommandEncoder* encoder) {
    encoder->copy(bench.x.get(), 0, bench.y.get(), 0, kElements * sizeof(float));
    encoder->encoder_barrier(MTLStages::kBlit, MTLStages::kDispatch, kVisible);
    bench.axpy(encoder, bench.y.get(), bench.x.get());
    encoder->encoder_barrier(MTLStages::kDispatch, MTLStages::kBlit, kVisible);
    encoder->fill(bench.x.get(), {0, kElements * sizeof(float)}, 0);
  });
  bench.finish4();
  EXPECT_THAT(contents(bench.y), Each(2.0F));
  EXPECT_THAT(contents(bench.x), Each(0.0F));
  EXPECT_THAT(violation_texts(), IsEmpty());
}

TEST_P(MetalModel, AnEventOrdersTwoQueues) {
  Bench bench(options());
  bench.commit4([&bench](MTL4ComputeCommandEncoder* encoder) {
    bench.axpy(encoder, bench.y.get(), bench.x.get());
  });
  bench.queue4->signal(bench.event.get(), 1);
  MTLCommandBuffer* const commands = bench.queue->command_buffer();
  commands->encode_wait(bench.event.get(), 1);
  MTLBlitCommandEncoder* const blit = commands->blit_encoder();
  blit->copy(bench.y.get(), 0, bench.x.get(), 0, kElements * sizeof(float));
  blit->end_encoding();
  commands->commit();
  commands->wait_until_completed();
  EXPECT_THAT(contents(bench.x), Each(1.0F));
  EXPECT_THAT(violation_texts(), IsEmpty());
}

// Two encoders of one command buffer, on tracked memory.
TEST_P(MetalModel, TrackedMemoryNeedsNoBarrierBetweenEncodersOfMetal3) {
  Bench bench(options());
  const Owned<MTLHeap> heap = bench.new_heap(1 << 20, MTLHazardTrackingMode::kTracked);
  const Owned<MTLBuffer> placed(
      heap->new_buffer(kElements * sizeof(float), MTLResourceOptions::kStorageModeShared, 0));
  MTLCommandBuffer* const commands = bench.queue->command_buffer();
  MTLBlitCommandEncoder* const blit = commands->blit_encoder();
  blit->copy(bench.x.get(), 0, placed.get(), 0, kElements * sizeof(float));
  blit->end_encoding();
  MTLComputeCommandEncoder* const encoder = commands->compute_encoder(MTLDispatchType::kConcurrent);
  bench.axpy(encoder, placed.get(), bench.x.get());
  encoder->memory_barrier(MTLBarrierScope::kBuffers);
  bench.axpy(encoder, placed.get(), bench.x.get());
  encoder->end_encoding();
  commands->commit();
  commands->wait_until_completed();
  EXPECT_THAT(contents(placed), Each(3.0F));
  EXPECT_THAT(violation_texts(), IsEmpty());
}

TEST_P(MetalModel, WhatTheHostHasWaitedForNeedsNoBarrier) {
  Bench bench(options());
  for (int i = 0; i < 3; ++i) {
    bench.commit4([&bench](MTL4ComputeCommandEncoder* encoder) {
      bench.axpy(encoder, bench.y.get(), bench.x.get());
    });
    bench.finish4();
    bench.allocator->reset();
  }
  EXPECT_THAT(contents(bench.y), Each(3.0F));
  EXPECT_THAT(violation_texts(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Orders, MetalModel, testing::Range(1U, 9U));

TEST(MetalModelOnce, QueuesEndInAnyOrder) {
  Bench bench;
  const Owned<MTLSharedEvent> other(bench.device->new_shared_event());
  const Owned<MTL4CommandQueue> second(bench.device->new_command_queue4());
  std::mutex mutex;
  std::set<std::string> orders;
  for (uint64_t i = 1; i <= 64 && orders.size() < 2; ++i) {
    Gpu::get().freeze(true);
    std::string order;
    for (const char name : {'a', 'b'}) {
      const auto options = make_object<MTL4CommitOptions>();
      options->add_feedback_handler([&order, &mutex, name](MTL4CommitFeedback*) {
        const std::lock_guard lock(mutex);
        order += name;
      });
      (name == 'a' ? bench.queue4 : second)->commit(nullptr, 0, options.get());
    }
    Gpu::get().freeze(false);
    ASSERT_TRUE(Gpu::get().wait_idle(seconds(10)));
    orders.insert(order);
  }
  EXPECT_THAT(orders, testing::ElementsAre("ab", "ba"));
}

TEST(MetalModelOnce, HeapAlignmentsVaryWithTheSeed) {
  std::set<NSUInteger> alignments;
  for (uint32_t seed = 1; seed <= 32; ++seed) {
    Options options;
    options.seed = seed;
    const Bench bench(options);
    alignments.insert(bench.device->heap_buffer_size_and_align(5000, kSharedUntracked).align);
  }
  EXPECT_GT(alignments.size(), 2U);
}

TEST(MetalModelOnce, AFreedPlaceInAHeapMayBeTakenAgain) {
  Bench bench;
  const Owned<MTLHeap> heap = bench.new_heap(1 << 20, MTLHazardTrackingMode::kUntracked);
  for (int i = 0; i < 2; ++i) {
    const Owned<MTLBuffer> buffer(heap->new_buffer(512, kSharedUntracked, 65536));
    ASSERT_TRUE(buffer);
  }
  EXPECT_THAT(violation_texts(), IsEmpty());
}

TEST(MetalModelOnce, PrivateMemoryHasNoHostAddress) {
  Bench bench;
  const auto buffer = bench.new_buffer(64, MTLResourceOptions::kStorageModePrivate);
  EXPECT_EQ(buffer->contents(), nullptr);
  EXPECT_EQ(buffer->length(), 64U);
}

TEST(MetalModelOnce, PagesOfTheHostAreUsedInPlace) {
  Bench bench;
  constexpr size_t kPage = 16384;
  const std::unique_ptr<void, decltype(&std::free)> pages(std::aligned_alloc(kPage, kPage),
                                                          &std::free);
  const Owned<MTLBuffer> buffer(
      bench.device->new_buffer_no_copy(pages.get(), kPage, MTLResourceOptions::kStorageModeShared));
  ASSERT_TRUE(buffer);
  EXPECT_EQ(buffer->contents(), pages.get());
  EXPECT_THAT(violation_texts(), IsEmpty());
}

TEST(MetalModelOnce, WithoutMemoryThereIsNil) {
  Bench bench;
  Gpu::get().fail_allocation(2);
  EXPECT_TRUE(bench.new_buffer(64));
  EXPECT_FALSE(bench.new_buffer(64));
  EXPECT_TRUE(bench.new_heap(1 << 20, MTLHazardTrackingMode::kUntracked));
  EXPECT_FALSE(bench.new_buffer(Options().memory_bytes + 1));
  EXPECT_THAT(violation_texts(), IsEmpty());
}

TEST(MetalModelOnce, AFailedCommandBufferTellsItsErrorAndSignalsNothing) {
  Bench bench;
  Gpu::get().fail_submission(
      1, {static_cast<long>(MTLCommandBufferError::kOutOfMemory), "Insufficient Memory"});
  MTLCommandBuffer* const commands = bench.queue->command_buffer();
  MTLComputeCommandEncoder* const encoder = commands->compute_encoder(MTLDispatchType::kSerial);
  bench.axpy(encoder, bench.y.get(), bench.x.get());
  encoder->end_encoding();
  commands->encode_signal(bench.event.get(), 1);
  commands->commit();
  commands->wait_until_completed();
  EXPECT_EQ(commands->status(), MTLCommandBufferStatus::kError);
  ASSERT_NE(commands->error(), nullptr);
  EXPECT_EQ(commands->error()->code(), static_cast<NSInteger>(MTLCommandBufferError::kOutOfMemory));
  EXPECT_EQ(bench.event->signaled_value(), 0U);
  EXPECT_THAT(contents(bench.y), Each(0.0F));
}

TEST(MetalModelOnce, AFailedSubmissionTellsItsErrorByFeedback) {
  Bench bench;
  Gpu::get().fail_submission(1, {static_cast<long>(MTL4CommandQueueError::kTimeout), "too long"});
  const auto options = make_object<MTL4CommitOptions>();
  std::string told;
  options->add_feedback_handler([&told](MTL4CommitFeedback* feedback) {
    const NSError* const error = feedback->error();
    if (error) told = error->underlying()->localized_description()->text();
  });
  bench.commit4(
      [&bench](MTL4ComputeCommandEncoder* encoder) {
        bench.axpy(encoder, bench.y.get(), bench.x.get());
      },
      options.get());
  ASSERT_TRUE(Gpu::get().wait_idle(seconds(10)));
  EXPECT_EQ(told, "too long");
  EXPECT_THAT(contents(bench.y), Each(0.0F));
}

// What follows a failed submission runs; the device is not lost.
TEST_P(MetalModel, EachErrorIsToldByItsCodeAndTheNextSubmissionRuns) {
  Bench bench(options());
  const auto add = [&bench](auto* encoder) { bench.axpy(encoder, bench.y.get(), bench.x.get()); };
  const std::pair<MTLCommandBufferError, const char*> errors3[] = {
      {MTLCommandBufferError::kOutOfMemory, "Insufficient Memory"},
      {MTLCommandBufferError::kTimeout, "Impacting Interactivity"},
      {MTLCommandBufferError::kTimeout, "Innocent Victim"},
      {MTLCommandBufferError::kPageFault, "Caused GPU Address Fault Error"},
      {MTLCommandBufferError::kDeviceRemoved, "Device Removed"},
  };
  for (const auto& [code, text] : errors3) {
    Gpu::get().fail_submission(1, {static_cast<long>(code), text});
    MTLCommandBuffer* const failed = bench.commit3(MTLDispatchType::kSerial, add);
    failed->wait_until_completed();
    ASSERT_NE(failed->error(), nullptr);
    EXPECT_EQ(failed->error()->code(), static_cast<NSInteger>(code));
    EXPECT_EQ(failed->error()->domain()->text(), "MTLCommandBufferErrorDomain");
    EXPECT_EQ(failed->error()->localized_description()->text(), text);
  }
  MTLCommandBuffer* const good = bench.commit3(MTLDispatchType::kSerial, add);
  good->wait_until_completed();
  EXPECT_EQ(good->error(), nullptr);
  const std::pair<MTL4CommandQueueError, const char*> errors4[] = {
      {MTL4CommandQueueError::kOutOfMemory, "Insufficient Memory"},
      {MTL4CommandQueueError::kTimeout, "Caused GPU Hang Error"},
      {MTL4CommandQueueError::kAccessRevoked, "Ignored (for causing prior/excessive GPU errors)"},
  };
  for (const auto& [code, text] : errors4) {
    Gpu::get().fail_submission(1, {static_cast<long>(code), text});
    const auto commit_options = make_object<MTL4CommitOptions>();
    std::string told;
    long told_code = 0;
    commit_options->add_feedback_handler([&](MTL4CommitFeedback* feedback) {
      told_code = feedback->error()->code();
      told = feedback->error()->underlying()->localized_description()->text();
    });
    bench.commit4(add, commit_options.get());
    bench.finish4();
    ASSERT_TRUE(Gpu::get().wait_idle(seconds(10)));
    EXPECT_EQ(told, text);
    EXPECT_EQ(told_code, static_cast<long>(code));
    bench.allocator->reset();
  }
  bench.commit4(add);
  bench.finish4();
  EXPECT_THAT(contents(bench.y), Each(2.0F));
  EXPECT_THAT(violation_texts(), IsEmpty());
}

TEST_P(MetalModel, AHostThatRaisesAnEventPassesOnWhatItWaitedFor) {
  Bench bench(options(15));
  const auto add = [&bench](MTLComputeCommandEncoder* encoder) {
    bench.axpy(encoder, bench.y.get(), bench.x.get());
  };
  MTLCommandBuffer* const first = bench.queue->command_buffer();
  MTLComputeCommandEncoder* const encoder = first->compute_encoder(MTLDispatchType::kConcurrent);
  add(encoder);
  encoder->end_encoding();
  first->encode_signal(bench.event.get(), 1);
  MTLCommandBuffer* const second = bench.queue->command_buffer();
  second->encode_wait(bench.event.get(), 2);
  MTLComputeCommandEncoder* const next = second->compute_encoder(MTLDispatchType::kConcurrent);
  add(next);
  next->end_encoding();
  first->commit();
  second->commit();
  ASSERT_TRUE(bench.event->wait_until(1, kPatienceMs));
  EXPECT_FALSE(bench.event->wait_until(2, 1)) << "a time-out";
  bench.event->set_signaled_value(2);
  second->wait_until_completed();
  EXPECT_THAT(contents(bench.y), Each(2.0F));
  EXPECT_THAT(violation_texts(), IsEmpty());
}

TEST(MetalModelOnce, ACommitTakesTheFeedbackHandlersWithIt) {
  Bench bench;
  const auto options = make_object<MTL4CommitOptions>();
  std::atomic<int> calls = 0;
  options->add_feedback_handler([&calls](MTL4CommitFeedback*) { ++calls; });
  bench.queue4->commit(nullptr, 0, options.get());
  bench.queue4->commit(nullptr, 0, options.get());
  ASSERT_TRUE(Gpu::get().wait_idle(seconds(10)));
  EXPECT_EQ(calls, 1);
}

TEST(MetalModelOnce, NothingIsLeftWhenAllIsReleased) {
  Gpu::get().reset();
  auto before = Runtime::get().live_objects();
  before.erase("MTLDevice");  // lives as long as the process
  {
    Bench bench;
    bench.commit4([&bench](MTL4ComputeCommandEncoder* encoder) {
      bench.axpy(encoder, bench.y.get(), bench.x.get());
    });
    bench.finish4();
    bench
        .commit3(MTLDispatchType::kSerial,
                 [&bench](MTLComputeCommandEncoder* encoder) {
                   bench.axpy(encoder, bench.y.get(), bench.x.get());
                 })
        ->wait_until_completed();
    ASSERT_TRUE(Gpu::get().wait_idle(seconds(10)));
  }
  auto after = Runtime::get().live_objects();
  after.erase("MTLDevice");
  EXPECT_EQ(after, before);
  EXPECT_THAT(violation_texts(), IsEmpty());
}

}  // namespace
}  // namespace krserve::fake_metal
