// The subset header and the fake agree, and the ABI between them carries every shape of message.
#include <gmock/gmock.h>

#include <array>
#include <fstream>
#include <memory>
#include <thread>

#include "metal/bench.h"
#include "metal/fake/kernels.h"

namespace krserve::fake_metal {
namespace {

using namespace metal;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(MetalApi, TheFakeHasEveryMessageWithItsSignature) {
  for (const MessageInfo& message : all_messages()) {
    const bool of_class = message.kind == MessageKind::kClass;
    SCOPED_TRACE(std::string(of_class ? "+[" : "-[") + message.receiver + " " + message.selector);
    const ClassObject* const found = Runtime::get().find_class(message.receiver);
    ASSERT_NE(found, nullptr);
    const Method* const method = found->find(sel_registerName(message.selector), of_class);
    ASSERT_NE(method, nullptr);
    EXPECT_EQ(method->encoding, message.encoding);
  }
}

TEST(MetalApi, EncodingsAreThoseOfObjectiveC) {
  EXPECT_EQ(SignatureEncoding<msg::NewBuffer::Signature>::text(), "@@:QQ");
  EXPECT_EQ(SignatureEncoding<msg::HeapSizeAndAlign::Signature>::text(), "{?=QQ}@:QQ");
  EXPECT_EQ(SignatureEncoding<msg::Dispatch::Signature>::text(), "v@:{?=QQQ}{?=QQQ}");
  EXPECT_EQ(SignatureEncoding<msg::BlitFill::Signature>::text(), "v@:@{_NSRange=QQ}C");
  EXPECT_EQ(SignatureEncoding<msg::NewBufferNoCopy::Signature>::text(), "@@:^vQQ@?");
  EXPECT_EQ(SignatureEncoding<msg::QueueCommit4::Signature>::text(), "v@:^@Q@");
  EXPECT_EQ(SignatureEncoding<msg::NewPipeline::Signature>::text(), "@@:@^@");
  EXPECT_EQ(SignatureEncoding<msg::RespondsToSelector::Signature>::text(), "B@::");
}

struct Unheard {
  using Signature = NSObject*();
  static constexpr const char* kSelector = "unheardOf";
};

TEST(MetalApi, AnUnknownSelectorIsRefusedByName) {
  Bench bench;
  EXPECT_EQ(send<Unheard>(bench.device.get()), nullptr);
  EXPECT_THAT(violation_texts(), ElementsAre(HasSubstr("-[MTLDevice unheardOf]")));
}

TEST(MetalApi, ObjectsTellWhatTheyRespondTo) {
  const Bench bench;
  EXPECT_TRUE(bench.device->responds_to("newMTL4CommandQueue"));
  EXPECT_FALSE(bench.device->responds_to("commit"));
  EXPECT_TRUE(bench.x->responds_to("allocatedSize"));
}

TEST(MetalApi, ANilReceiverAnswersNothing) {
  const Bench bench;
  const MTLBuffer* const nothing = nullptr;
  EXPECT_EQ(send<msg::BufferLength>(nothing), 0U);
  EXPECT_THAT(violation_texts(), IsEmpty());
}

TEST(MetalApi, StructsGoThroughMessagesByValue) {
  Bench bench;
  Launch seen;
  register_kernel({"look", {{5, false, nullptr}}, 0, [&seen](const Launch& one) { seen = one; }});
  const Owned<MTLLibrary> library(
      bench.device->new_library(NSString::from("kernel void look()"), nullptr, nullptr));
  const Owned<MTLFunction> function(library->new_function(NSString::from("look")));
  const Owned<MTLComputePipelineState> look(bench.device->new_pipeline(function.get(), nullptr));
  bench
      .commit3(MTLDispatchType::kSerial,
               [&](MTLComputeCommandEncoder* encoder) {
                 encoder->set_pipeline(look.get());
                 encoder->set_buffer(bench.x.get(), 16, 5);
                 encoder->set_threadgroup_memory(48, 2);
                 encoder->dispatch({2, 3, 4}, {5, 6, 7});
               })
      ->wait_until_completed();
  const auto size = [](MTLSize s) { return std::array{s.width, s.height, s.depth}; };
  EXPECT_THAT(size(seen.groups), ElementsAre(2, 3, 4));
  EXPECT_THAT(size(seen.threads), ElementsAre(5, 6, 7));
  EXPECT_EQ(seen.bytes[5], kElements * sizeof(float) - 16);
  EXPECT_EQ(seen.threadgroup_bytes[2], 48U);
  const MTLSizeAndAlign asked = bench.device->heap_buffer_size_and_align(1, kSharedUntracked);
  EXPECT_GE(asked.align, 256U);
  EXPECT_EQ(asked.size, asked.align);
  EXPECT_THAT(violation_texts(), IsEmpty());
}

TEST(MetalApi, FillTakesARangeAndAByte) {
  Bench bench;
  MTLCommandBuffer* const commands = bench.queue->command_buffer();
  MTLBlitCommandEncoder* const blit = commands->blit_encoder();
  blit->fill(bench.y.get(), {4, 8}, 0x3f);
  blit->copy(bench.y.get(), 4, bench.y.get(), 16, 4);
  blit->end_encoding();
  commands->commit();
  commands->wait_until_completed();
  const auto* const words = static_cast<const uint32_t*>(bench.y->contents());
  EXPECT_THAT(std::vector<uint32_t>(words, words + 6),
              ElementsAre(0, 0x3f3f3f3f, 0x3f3f3f3f, 0, 0x3f3f3f3f, 0));
  EXPECT_THAT(violation_texts(), IsEmpty());
}

TEST(MetalApi, ABlockKeepsWhatItsFunctionHoldsUntilItRan) {
  Bench bench;
  const auto held = std::make_shared<int>(0);
  MTLCommandBuffer* const commands = bench.queue->command_buffer();
  commands->add_completed_handler([held](MTLCommandBuffer* one) {
    *held += one->status() == MTLCommandBufferStatus::kCompleted ? 1 : 100;
  });
  EXPECT_EQ(held.use_count(), 2);
  commands->commit();
  commands->wait_until_completed();
  EXPECT_EQ(*held, 1);
  EXPECT_EQ(held.use_count(), 1);
}

TEST(MetalApi, TextErrorsAndArraysComeBack) {
  const Bench bench;
  NSError* error = nullptr;
  EXPECT_EQ(bench.device->new_library(NSString::from("#error of ours\n"), nullptr, &error),
            nullptr);
  ASSERT_NE(error, nullptr);
  EXPECT_EQ(error->code(), static_cast<NSInteger>(MTLLibraryError::kCompileFailure));
  EXPECT_EQ(error->domain()->text(), "MTLLibraryErrorDomain");
  EXPECT_THAT(error->localized_description()->text(), HasSubstr("#error of ours"));
  const Owned<MTLLibrary> library(
      bench.device->new_library(NSString::from("kernel void axpy()"), nullptr, nullptr));
  NSArray* const names = library->function_names();
  ASSERT_EQ(names->count(), 1U);
  EXPECT_EQ(reinterpret_cast<NSString*>(names->object_at(0))->text(), "axpy");
  EXPECT_EQ(library->new_function(NSString::from("none")), nullptr);
  EXPECT_THAT(violation_texts(), IsEmpty());
}

TEST(MetalApi, LibrariesComeFromFilesToo) {
  const Bench bench;
  NSError* error = nullptr;
  const std::string path = testing::TempDir() + "krserve_fake.metallib";
  EXPECT_EQ(bench.device->new_library(NSURL::file(path + ".none"), &error), nullptr);
  EXPECT_EQ(error->code(), static_cast<NSInteger>(MTLLibraryError::kFileNotFound));
  std::ofstream(path) << "MTLB axpy";
  const Owned<MTLLibrary> library(bench.device->new_library(NSURL::file(path), &error));
  const Owned<MTLFunction> function(library->new_function(NSString::from("axpy")));
  EXPECT_EQ(function->name()->text(), "axpy");
  EXPECT_THAT(violation_texts(), IsEmpty());
}

}  // namespace
}  // namespace krserve::fake_metal
