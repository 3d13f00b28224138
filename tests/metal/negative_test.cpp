// Every rule of the model is broken here at least once, and each break is told by its rule alone.
#include <gmock/gmock.h>

#include <set>
#include <thread>

#include "metal/bench.h"

namespace krserve::fake_metal {
namespace {

using namespace metal;

constexpr NSUInteger kBytes = kElements * sizeof(float);
constexpr NSUInteger kHeapBytes = 1 << 20;
constexpr uint64_t kLargeAlignment = 65536;  // of every seed
constexpr auto kNoMode = MTLHazardTrackingMode::kUntracked;

struct Negative {
  Rule rule;
  const char* name;
  void (*run)(Bench&);
};

struct Unheard {
  using Signature = void();
  static constexpr const char* kSelector = "unheardOf";
};

// Made, and never ended before the pool of the test lets go of it.
MTLComputeCommandEncoder* open3(Bench& bench, MTLDispatchType type = MTLDispatchType::kSerial) {
  return bench.queue->command_buffer()->compute_encoder(type);
}

// An encoder that is ended; what is refused happened before.
void with_encoder3(Bench& bench, const std::function<void(MTLComputeCommandEncoder*)>& encode) {
  MTLComputeCommandEncoder* const encoder = open3(bench);
  encode(encoder);
  encoder->end_encoding();
}

void with_blit(Bench& bench, const std::function<void(MTLBlitCommandEncoder*)>& encode) {
  MTLBlitCommandEncoder* const blit = bench.queue->command_buffer()->blit_encoder();
  encode(blit);
  blit->end_encoding();
}

// Two dispatches on y; `between` may order them.
void twice(Bench& bench, const std::function<void(MTL4ComputeCommandEncoder*)>& between) {
  bench.commit4([&](MTL4ComputeCommandEncoder* encoder) {
    bench.axpy(encoder, bench.y.get(), bench.x.get());
    between(encoder);
    bench.axpy(encoder, bench.y.get(), bench.x.get());
  });
}

void commit_one(Bench& bench) {
  const MTL4CommandBuffer* const list[] = {bench.commands4.get()};
  bench.queue4->commit(list, 1);
}

const Negative kObjects[] = {
    {Rule::kUnknownSelector, "Unknown", [](Bench& b) { send<Unheard>(b.device.get()); }},
    {Rule::kDeadObject, "MessageAfterRelease",
     [](Bench& b) {
       MTLSharedEvent* const event = b.device->new_shared_event();
       event->release();
       event->release();
     }},
    {Rule::kDeadObject, "DeadArgument",
     [](Bench& b) {
       MTLSharedEvent* const event = b.device->new_shared_event();
       event->release();
       b.queue4->signal(event, 1);
     }},
    {Rule::kDeadObject, "ReleaseOfWhatThePoolOwns",
     [](Bench&) {
       const AutoreleaseScope scope;
       NSString::from("text")->release();
     }},
    {Rule::kWrongClass, "WrongClass",
     [](Bench& b) { b.residents->add(reinterpret_cast<const MTLAllocation*>(b.event.get())); }},
    {Rule::kNilArgument, "NilArgument", [](Bench& b) { b.residents->add(nullptr); }},
    {Rule::kNilArgument, "NilOptionsOfACommit",
     [](Bench& b) { b.queue4->commit(nullptr, 0, nullptr); }},
    {Rule::kNilArgument, "NilSource",
     [](Bench& b) {
       b.device->new_library(static_cast<const NSString*>(nullptr), nullptr, nullptr);
     }},
    {Rule::kNoAutoreleasePool, "ThreadWithoutPool",
     [](Bench& b) { std::thread([&b] { b.queue->command_buffer()->release(); }).join(); }},
    {Rule::kPoolOrder, "OlderPoolFirst",
     [](Bench&) {
       const auto make = [] {
         return reinterpret_cast<NSAutoreleasePool*>(
             send<msg::New>(objc_getClass(NSAutoreleasePool::kClassName)));
       };
       NSAutoreleasePool* const older = make();
       make();
       older->drain();
     }},
    {Rule::kPoolOrder, "PoolOfAnotherThread",
     [](Bench&) {
       AutoreleaseScope scope;
       std::thread([&scope] { scope.pool()->drain(); }).join();
     }},
};

const Negative kMemory[] = {
    {Rule::kBadStorage, "ManagedBuffer",
     [](Bench& b) { b.new_buffer(64, MTLResourceOptions::kStorageModeManaged); }},
    {Rule::kEmptyAllocation, "EmptyBuffer", [](Bench& b) { b.new_buffer(0); }},
    {Rule::kEmptyAllocation, "EmptyHeap", [](Bench& b) { b.new_heap(0, kNoMode); }},
    {Rule::kHeapStorage, "OtherStorageThanTheHeap",
     [](Bench& b) {
       const auto heap = b.new_heap(kHeapBytes, kNoMode);
       heap->new_buffer(64, MTLResourceOptions::kStorageModePrivate, 0);
     }},
    {Rule::kHeapAlignment, "MisalignedPlace",
     [](Bench& b) {
       const auto heap = b.new_heap(kHeapBytes, kNoMode);
       heap->new_buffer(64, kSharedUntracked, 128);
     }},
    {Rule::kHeapOverflow, "PastTheHeap",
     [](Bench& b) {
       const auto heap = b.new_heap(kHeapBytes, kNoMode);
       heap->new_buffer(kHeapBytes, kSharedUntracked, kLargeAlignment);
     }},
    {Rule::kHeapOverlap, "OverALiveBuffer",
     [](Bench& b) {
       const auto heap = b.new_heap(kHeapBytes, kNoMode);
       const Owned<MTLBuffer> first(heap->new_buffer(kLargeAlignment + 1, kSharedUntracked, 0));
       heap->new_buffer(64, kSharedUntracked, kLargeAlignment);
     }},
    {Rule::kNoCopyAlignment, "PartOfAPage",
     [](Bench& b) {
       alignas(16384) static char pages[2 * 16384];
       b.device->new_buffer_no_copy(pages + 64, 16384, kSharedUntracked);
     }},
    {Rule::kNoCopyAlignment, "OddLength",
     [](Bench& b) {
       alignas(16384) static char pages[16384];
       b.device->new_buffer_no_copy(pages, 1000, kSharedUntracked);
     }},
    {Rule::kReleasedInFlight, "BufferOfACommit",
     [](Bench& b) {
       const auto heap = b.new_heap(kHeapBytes, kNoMode);
       b.residents->add(heap.get());
       b.residents->commit();
       const Owned<MTLBuffer> buffer(heap->new_buffer(kBytes, kSharedUntracked, 0));
       b.commit4([&](MTL4ComputeCommandEncoder* e) { b.axpy(e, b.y.get(), buffer.get()); });
     }},
    {Rule::kReleasedInFlight, "BufferOfARecording",
     [](Bench& b) {
       b.commit4([&](MTL4ComputeCommandEncoder* e) {
         const auto buffer = b.new_buffer(kBytes);
         b.axpy(e, b.y.get(), buffer.get());
       });
     }},
    {Rule::kEventNotMonotonic, "LowerFromTheHost",
     [](Bench& b) {
       b.event->set_signaled_value(5);
       b.event->set_signaled_value(4);
     }},
    {Rule::kEventNotMonotonic, "LowerFromTheQueue",
     [](Bench& b) {
       b.queue4->signal(b.event.get(), 5);
       b.queue4->signal(b.event.get(), 4);
     }},
    {Rule::kNotResident, "InNoSet",
     [](Bench& b) {
       const auto buffer = b.new_buffer(kBytes);
       b.commit4([&](MTL4ComputeCommandEncoder* e) { b.axpy(e, buffer.get(), b.x.get()); });
       b.finish4();
     }},
    {Rule::kNotResident, "SetNotCommitted",
     [](Bench& b) {
       const auto buffer = b.new_buffer(kBytes);
       b.residents->add(buffer.get());
       b.commit4([&](MTL4ComputeCommandEncoder* e) { b.axpy(e, buffer.get(), b.x.get()); });
       b.finish4();
     }},
    {Rule::kTooManyResidencySets, "ThirtyThreeSets",
     [](Bench& b) {
       for (NSUInteger i = 0; i < kMaxResidencySets; ++i) {
         b.queue4->add_residency_set(b.new_residency_set().get());
       }
     }},
    {Rule::kTooManyResidencySets, "ThirtyThreeSetsOfMetal3",
     [](Bench& b) {
       for (NSUInteger i = 0; i <= kMaxResidencySets; ++i) {
         b.queue->add_residency_set(b.new_residency_set().get());
       }
     }},
};

const Negative kCommandBuffers[] = {
    {Rule::kDoubleCommit, "CommittedTwice",
     [](Bench& b) {
       MTLCommandBuffer* const commands = b.queue->command_buffer();
       commands->commit();
       commands->commit();
     }},
    {Rule::kDoubleCommit, "RecordingCommittedTwice",
     [](Bench& b) {
       b.commit4([](MTL4ComputeCommandEncoder*) {});
       commit_one(b);
     }},
    {Rule::kEncodeAfterCommit, "EncoderAfterCommit",
     [](Bench& b) {
       MTLCommandBuffer* const commands = b.queue->command_buffer();
       commands->commit();
       commands->blit_encoder();
     }},
    {Rule::kEncodeAfterCommit, "SignalAfterCommit",
     [](Bench& b) {
       MTLCommandBuffer* const commands = b.queue->command_buffer();
       commands->commit();
       commands->encode_signal(b.event.get(), 1);
     }},
    {Rule::kEncodeAfterCommit, "ResidencyAfterCommit",
     [](Bench& b) {
       MTLCommandBuffer* const commands = b.queue->command_buffer();
       commands->commit();
       commands->use_residency_set(b.residents.get());
     }},
    {Rule::kEncoderOpen, "CommitWithAnOpenEncoder",
     [](Bench& b) {
       MTLCommandBuffer* const commands = b.queue->command_buffer();
       MTLBlitCommandEncoder* const blit = commands->blit_encoder();
       commands->commit();
       blit->end_encoding();
     }},
    {Rule::kEncoderOpen, "TwoEncoders",
     [](Bench& b) {
       MTLCommandBuffer* const commands = b.queue->command_buffer();
       MTLBlitCommandEncoder* const blit = commands->blit_encoder();
       commands->blit_encoder();
       blit->end_encoding();
     }},
    {Rule::kEncoderOpen, "EncoderNeverEnded", [](Bench& b) { open3(b); }},
    {Rule::kEncoderOpen, "RecordingEndedWithAnOpenEncoder",
     [](Bench& b) {
       b.commands4->begin(b.allocator.get());
       MTL4ComputeCommandEncoder* const encoder = b.commands4->compute_encoder();
       b.commands4->end();
       encoder->end_encoding();
     }},
    {Rule::kEncodeAfterEnd, "DispatchAfterEnd",
     [](Bench& b) {
       MTLComputeCommandEncoder* const encoder = open3(b);
       encoder->set_pipeline(b.pipeline.get());
       encoder->end_encoding();
       encoder->dispatch({1, 1, 1}, {1, 1, 1});
     }},
    {Rule::kEncodeAfterEnd, "NamesAfterEnd",
     [](Bench& b) {
       MTLComputeCommandEncoder* const encoder = open3(b);
       encoder->end_encoding();
       encoder->use_resource(b.x.get(), MTLResourceUsage::kRead);
     }},
    {Rule::kEncodeAfterEnd, "CopyAfterEnd",
     [](Bench& b) {
       b.commands4->begin(b.allocator.get());
       MTL4ComputeCommandEncoder* const encoder = b.commands4->compute_encoder();
       encoder->end_encoding();
       encoder->copy(b.x.get(), 0, b.y.get(), 0, 4);
     }},
    {Rule::kHandlerAfterCommit, "HandlerAfterCommit",
     [](Bench& b) {
       MTLCommandBuffer* const commands = b.queue->command_buffer();
       commands->commit();
       commands->add_completed_handler([](MTLCommandBuffer*) {});
     }},
    {Rule::kWaitBeforeCommit, "WaitBeforeCommit",
     [](Bench& b) { b.queue->command_buffer()->wait_until_completed(); }},
    {Rule::kQueueFull, "MoreThanTheQueueHolds",
     [](Bench& b) {
       const Owned<MTLCommandQueue> small(b.device->new_command_queue(1));
       small->command_buffer();
       small->command_buffer();
     }},
    {Rule::kNotRecording, "EncoderBeforeBegin", [](Bench& b) { b.commands4->compute_encoder(); }},
    {Rule::kNotRecording, "EndBeforeBegin", [](Bench& b) { b.commands4->end(); }},
    {Rule::kNotRecording, "ResidencyBeforeBegin",
     [](Bench& b) { b.commands4->use_residency_set(b.residents.get()); }},
    {Rule::kNotRecording, "CommitOfNothing", commit_one},
    {Rule::kStillRecording, "CommitBeforeEnd",
     [](Bench& b) {
       b.commands4->begin(b.allocator.get());
       commit_one(b);
     }},
    {Rule::kStillRecording, "BeginTwice",
     [](Bench& b) {
       b.commands4->begin(b.allocator.get());
       b.commands4->begin(b.allocator.get());
     }},
    {Rule::kAllocatorBusy, "OneAllocatorTwoRecordings",
     [](Bench& b) {
       const Owned<MTL4CommandBuffer> other(b.device->new_command_buffer4());
       b.commands4->begin(b.allocator.get());
       other->begin(b.allocator.get());
     }},
    {Rule::kAllocatorBusy, "ResetWhileRecording",
     [](Bench& b) {
       b.commands4->begin(b.allocator.get());
       b.allocator->reset();
     }},
    {Rule::kAllocatorInFlight, "ResetBeforeTheEndIsKnown",
     [](Bench& b) {
       b.commit4([](MTL4ComputeCommandEncoder*) {});
       b.allocator->reset();
     }},
    {Rule::kAllocatorInFlight, "ReleasedBeforeTheEndIsKnown",
     [](Bench& b) {
       b.commit4([](MTL4ComputeCommandEncoder*) {});
       b.allocator = {};
     }},
};

const Negative kEncoding[] = {
    {Rule::kNoPipeline, "NoPipeline",
     [](Bench& b) {
       with_encoder3(b, [](MTLComputeCommandEncoder* e) { e->dispatch({1, 1, 1}, {1, 1, 1}); });
     }},
    {Rule::kMissingBinding, "NothingBound",
     [](Bench& b) {
       with_encoder3(b, [&](MTLComputeCommandEncoder* e) {
         e->set_pipeline(b.pipeline.get());
         e->set_buffer(b.y.get(), 0, 0);
         e->dispatch({1, 1, 1}, {1, 1, 1});
       });
     }},
    {Rule::kMissingBinding, "NoTable",
     [](Bench& b) {
       b.commit4([&](MTL4ComputeCommandEncoder* e) {
         e->set_pipeline(b.pipeline.get());
         e->dispatch({1, 1, 1}, {1, 1, 1});
       });
     }},
    {Rule::kBindingIndex, "Index31",
     [](Bench& b) {
       with_encoder3(b, [&](MTLComputeCommandEncoder* e) { e->set_buffer(b.x.get(), 0, 31); });
     }},
    {Rule::kBindingIndex, "PastTheTable", [](Bench& b) { b.table->set_address(1, 3); }},
    {Rule::kBindingIndex, "TableOf32",
     [](Bench&) { make_object<MTL4ArgumentTableDescriptor>()->set_max_buffer_bind_count(32); }},
    {Rule::kBindingAlignment, "OddOffset",
     [](Bench& b) {
       with_encoder3(b, [&](MTLComputeCommandEncoder* e) { e->set_buffer(b.x.get(), 2, 0); });
     }},
    {Rule::kBindingAlignment, "OddThreadgroupMemory",
     [](Bench& b) {
       with_encoder3(b, [](MTLComputeCommandEncoder* e) { e->set_threadgroup_memory(24, 0); });
     }},
    {Rule::kBadAddress, "AddressOfNoBuffer",
     [](Bench& b) {
       b.commit4([&](MTL4ComputeCommandEncoder* e) {
         for (NSUInteger i = 0; i < 3; ++i) b.table->set_address(7, i);
         e->set_pipeline(b.pipeline.get());
         e->set_argument_table(b.table.get());
         e->dispatch({1, 1, 1}, {1, 1, 1});
       });
     }},
    {Rule::kRange, "OffsetPastTheBuffer",
     [](Bench& b) {
       with_encoder3(b, [&](MTLComputeCommandEncoder* e) { e->set_buffer(b.x.get(), kBytes, 0); });
     }},
    {Rule::kRange, "CopyPastTheBuffer",
     [](Bench& b) {
       with_blit(b, [&](MTLBlitCommandEncoder* e) { e->copy(b.x.get(), 0, b.y.get(), 4, kBytes); });
     }},
    {Rule::kRange, "KernelPastTheBuffer",
     [](Bench& b) {
       const auto small = b.new_buffer(kBytes - 4);
       b.commit3(MTLDispatchType::kSerial, [&](MTLComputeCommandEncoder* e) {
          b.axpy(e, small.get(), b.x.get());
        })->wait_until_completed();
     }},
    {Rule::kInlineBytes, "TooManyInlineBytes",
     [](Bench& b) {
       const std::vector<char> bytes(kMaxInlineBytes + 1);
       with_encoder3(
           b, [&](MTLComputeCommandEncoder* e) { e->set_bytes(bytes.data(), bytes.size(), 0); });
     }},
    {Rule::kInlineBytes, "WriteToInlineBytes",
     [](Bench& b) {
       const float one = 1.0F;
       with_encoder3(b, [&](MTLComputeCommandEncoder* e) {
         e->set_pipeline(b.pipeline.get());
         for (NSUInteger i = 0; i < 3; ++i) e->set_bytes(&one, sizeof(one), i);
         e->dispatch({1, 1, 1}, {1, 1, 1});
       });
     }},
    {Rule::kCopyAlignment, "OddCopy",
     [](Bench& b) {
       with_blit(b, [&](MTLBlitCommandEncoder* e) { e->copy(b.x.get(), 2, b.y.get(), 0, 4); });
     }},
    {Rule::kCopyAlignment, "OddFill",
     [](Bench& b) {
       with_blit(b, [&](MTLBlitCommandEncoder* e) { e->fill(b.x.get(), {0, 3}, 0); });
     }},
    {Rule::kCopyOverlap, "CopyOntoItself",
     [](Bench& b) {
       with_blit(b, [&](MTLBlitCommandEncoder* e) { e->copy(b.x.get(), 0, b.x.get(), 4, 8); });
     }},
    {Rule::kEmptyDispatch, "NoGroups",
     [](Bench& b) {
       with_encoder3(b, [&](MTLComputeCommandEncoder* e) {
         e->set_pipeline(b.pipeline.get());
         e->dispatch({0, 1, 1}, {1, 1, 1});
       });
     }},
    {Rule::kThreadgroupSize, "TooManyThreads",
     [](Bench& b) {
       with_encoder3(b, [&](MTLComputeCommandEncoder* e) {
         e->set_pipeline(b.pipeline.get());
         e->dispatch({1, 1, 1}, {1025, 1, 1});
       });
     }},
    {Rule::kThreadgroupMemory, "TooMuchThreadgroupMemory",
     [](Bench& b) {
       with_encoder3(b, [&](MTLComputeCommandEncoder* e) {
         e->set_pipeline(b.pipeline.get());
         e->set_threadgroup_memory(32768, 0);
         e->set_threadgroup_memory(16, 1);
         e->dispatch({1, 1, 1}, {1, 1, 1});
       });
     }},
};

const Negative kRaces[] = {
    {Rule::kMissingBarrier, "ConcurrentDispatches",
     [](Bench& b) {
       b.commit3(MTLDispatchType::kConcurrent, [&](MTLComputeCommandEncoder* e) {
         b.axpy(e, b.y.get(), b.x.get());
         b.axpy(e, b.y.get(), b.x.get());
       });
     }},
    {Rule::kMissingBarrier, "WriteAfterRead",
     [](Bench& b) {
       b.commit3(MTLDispatchType::kConcurrent, [&](MTLComputeCommandEncoder* e) {
         b.axpy(e, b.y.get(), b.x.get());
         b.axpy(e, b.x.get(), b.x.get());
       });
     }},
    {Rule::kMissingBarrier, "UntrackedMemoryBetweenCommandBuffers",
     [](Bench& b) {
       for (int i = 0; i < 2; ++i) {
         b.commit3(MTLDispatchType::kSerial,
                   [&](MTLComputeCommandEncoder* e) { b.axpy(e, b.y.get(), b.x.get()); });
       }
     }},
    {Rule::kMissingBarrier, "NoBarrierInTheEncoder",
     [](Bench& b) { twice(b, [](MTL4ComputeCommandEncoder*) {}); }},
    {Rule::kMissingBarrier, "BarrierOfAnotherStage",
     [](Bench& b) {
       twice(b, [](MTL4ComputeCommandEncoder* e) {
         e->encoder_barrier(MTLStages::kBlit, kAllStages, kVisible);
       });
     }},
    {Rule::kMissingBarrier, "BarrierWithoutVisibility",
     [](Bench& b) {
       twice(b, [](MTL4ComputeCommandEncoder* e) {
         e->encoder_barrier(kAllStages, kAllStages, MTL4VisibilityOptions::kNone);
       });
     }},
    {Rule::kMissingBarrier, "QueueBarrierDoesNotOrderTheEncoder",
     [](Bench& b) {
       twice(b, [](MTL4ComputeCommandEncoder* e) {
         e->queue_barrier(kAllStages, kAllStages, kVisible);
       });
     }},
    {Rule::kMissingBarrier, "NoBarrierBetweenCommits",
     [](Bench& b) {
       for (int i = 0; i < 2; ++i) {
         b.commit4([&](MTL4ComputeCommandEncoder* e) { b.axpy(e, b.y.get(), b.x.get()); });
       }
     }},
    {Rule::kMissingBarrier, "QueueBarrierOfAnotherStage",
     [](Bench& b) {
       b.commit4([&](MTL4ComputeCommandEncoder* e) { e->fill(b.y.get(), {0, kBytes}, 0); });
       b.commit4([&](MTL4ComputeCommandEncoder* e) {
         e->queue_barrier(kDispatchOnly, kDispatchOnly, kVisible);
         b.axpy(e, b.y.get(), b.x.get());
       });
     }},
    {Rule::kMissingBarrier, "TwoQueuesWithoutAnEvent",
     [](Bench& b) {
       b.commit4([&](MTL4ComputeCommandEncoder* e) { b.axpy(e, b.y.get(), b.x.get()); });
       b.commit3(MTLDispatchType::kSerial,
                 [&](MTLComputeCommandEncoder* e) { b.axpy(e, b.y.get(), b.x.get()); });
     }},
};

std::vector<Negative> all_negatives() {
  std::vector<Negative> all;
  all.insert(all.end(), std::begin(kObjects), std::end(kObjects));
  all.insert(all.end(), std::begin(kMemory), std::end(kMemory));
  all.insert(all.end(), std::begin(kCommandBuffers), std::end(kCommandBuffers));
  all.insert(all.end(), std::begin(kEncoding), std::end(kEncoding));
  all.insert(all.end(), std::begin(kRaces), std::end(kRaces));
  return all;
}

void PrintTo(const Negative& one, std::ostream* out) {
  *out << rule_name(one.rule);
}

class MetalRule : public testing::TestWithParam<Negative> {};

// Whatever order the work ends in.
TEST_P(MetalRule, IsTold) {
  for (uint32_t seed = 1; seed <= 8; ++seed) {
    Options options;
    options.seed = seed;
    Bench bench(options);
    {
      const AutoreleaseScope scope;
      GetParam().run(bench);
    }
    ASSERT_TRUE(Gpu::get().wait_idle(std::chrono::seconds(10)));
    const std::vector<Violation> told = Runtime::get().violations();
    ASSERT_FALSE(told.empty()) << "seed " << seed;
    for (const Violation& one : told) {
      EXPECT_STREQ(rule_name(one.rule), rule_name(GetParam().rule)) << one.text;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Negatives, MetalRule, testing::ValuesIn(all_negatives()),
                         [](const auto& one) { return std::string(one.param.name); });

TEST(MetalRules, EachHasANegative) {
  std::set<Rule> broken;
  for (const Negative& one : all_negatives()) broken.insert(one.rule);
  broken.insert(Rule::kKernelFault);  // in dialect_test.cpp
  for (size_t i = 0; i < std::size(kRuleNames); ++i) {
    EXPECT_TRUE(broken.contains(static_cast<Rule>(i))) << kRuleNames[i];
  }
}

TEST(MetalRules, Metal4IsUnknownToOlderSystems) {
  Options options;
  options.macos = 15;
  const Bench bench(options);
  EXPECT_EQ(bench.device->new_command_queue4(), nullptr);
  ASSERT_EQ(Runtime::get().violations().size(), 1U);
  EXPECT_EQ(Runtime::get().violations()[0].rule, Rule::kUnknownSelector);
}

}  // namespace
}  // namespace krserve::fake_metal
