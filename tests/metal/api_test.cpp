// The subset header and the fake agree, and the ABI between them carries every shape of message.
#include <gmock/gmock.h>

#include <array>
#include <cstdio>
#include <cstdlib>
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

TEST(MetalApi, EncodingsOfARuntimeAreBroughtToOneForm) {
  EXPECT_EQ(plain_encoding("Vv16@0:8"), "v@:");
  EXPECT_EQ(plain_encoding("@32@0:8Q16Q24"), "@@:QQ");
  EXPECT_EQ(plain_encoding("r*16@0:8"), "*@:");
  EXPECT_EQ(plain_encoding("v64@0:8{?=QQQ}16{?=QQQ}40"), "v@:{?=QQQ}{?=QQQ}");
  EXPECT_EQ(plain_encoding("v44@0:8@16{_NSRange=QQ}24C40"), "v@:@{?=QQ}C");
  EXPECT_EQ(plain_encoding("@48@0:8^v16Q24Q32@?40"), "@@:^vQQ@?");
  EXPECT_EQ(plain_encoding("v32@0:8@\"NSString\"16@?<v@?@\"NSError\">24"), "v@:@@?");
  EXPECT_EQ(plain_encoding("@32@0:8@16o^@24"), "@@:@^@");
  EXPECT_EQ(plain_encoding("v24@0:8q16"), plain_encoding("v@:Q")) << "signs are sent alike";
  EXPECT_EQ(plain_encoding("c24@0:8:16"), "B@::");
  EXPECT_NE(plain_encoding("v24@0:8d16"), plain_encoding("v@:Q"));
  EXPECT_NE(plain_encoding("v24@0:8@16"), plain_encoding("v@:Q"));
  EXPECT_NE(plain_encoding("v28@0:8I16"), plain_encoding("v@:Q"));
  EXPECT_EQ(plain_encoding("{cut"), "{?=}") << "no end";
}

TEST(MetalApi, TheRuntimeTellsOfClassesAndMethods) {
  const Bench bench;
  EXPECT_STREQ(class_getName(object_getClass(bench.x.get())), "MTLBuffer");
  EXPECT_EQ(class_getInstanceMethod(object_getClass(bench.x.get()), sel_registerName("commit")),
            nullptr);
  EXPECT_EQ(class_getClassMethod(objc_getClass("NSString"), sel_registerName("UTF8String")),
            nullptr);
  for (const MessageInfo& message : all_messages()) {
    const void* const of = objc_getClass(message.receiver);
    const Selector selector = sel_registerName(message.selector);
    const void* const method = message.kind == MessageKind::kClass
                                   ? class_getClassMethod(of, selector)
                                   : class_getInstanceMethod(of, selector);
    ASSERT_NE(method, nullptr) << message.selector;
    EXPECT_NE(std::string(method_getTypeEncoding(method)), message.encoding) << "has offsets";
    EXPECT_EQ(plain_encoding(method_getTypeEncoding(method)), plain_encoding(message.encoding));
  }
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

TEST(MetalApi, TheSystemAndTheDeviceTellTheirFacts) {
  Options options;
  options.working_set_bytes = 123 << 20;
  const Bench bench(options);
  const NSProcessInfo* const process = NSProcessInfo::get();
  EXPECT_TRUE(process->system_is_at_least({26, 0, 0}));
  EXPECT_FALSE(process->system_is_at_least({26, 0, 1}));
  EXPECT_FALSE(process->system_is_at_least({27, 0, 0}));
  EXPECT_TRUE(process->system_is_at_least({15, 7, 9}));
  EXPECT_THAT(process->system_version_text()->text(), HasSubstr("26.0"));
  EXPECT_TRUE(bench.device->supports(MTLGPUFamily::kMetal4));
  EXPECT_TRUE(bench.device->has_unified_memory());
  EXPECT_THAT(bench.device->architecture()->name()->text(), HasSubstr("gpu"));
  EXPECT_NE(bench.device->registry_id(), 0U);
  EXPECT_EQ(bench.device->recommended_max_working_set_size(), options.working_set_bytes);
  EXPECT_EQ(bench.device->max_threadgroup_memory_length(), 32768U);
  const NSUInteger before = bench.device->current_allocated_size();
  const Owned<MTLBuffer> buffer(bench.device->new_buffer(4096, kSharedUntracked));
  EXPECT_EQ(bench.device->current_allocated_size(), before + 4096);
  uint64_t host = 0;
  uint64_t gpu = 0;
  bench.device->sample_timestamps(&host, &gpu);
  EXPECT_GT(host, gpu);
  EXPECT_THAT(violation_texts(), IsEmpty());
}

TEST(MetalApi, OlderSystemsDoNotKnowWhatCameLater) {
  struct Known {
    int macos;
    bool sets;
    bool metal4;
  };
  constexpr Known kSystems[] = {{14, false, false}, {15, true, false}, {26, true, true}};
  for (const auto& [macos, sets, metal4] : kSystems) {
    Options options;
    options.macos = macos;
    Gpu::get().reset(options);
    const AutoreleaseScope scope;
    const Owned<MTLDevice> device(MTLCreateSystemDefaultDevice());
    EXPECT_EQ(device->responds_to(msg::NewResidencySet::kSelector), sets) << macos;
    EXPECT_EQ(device->responds_to(msg::NewCommandQueue4::kSelector), metal4) << macos;
    EXPECT_EQ(device->supports(MTLGPUFamily::kMetal4), metal4) << macos;
    EXPECT_TRUE(device->supports(MTLGPUFamily::kMetal3)) << macos;
    EXPECT_EQ(objc_getClass("MTL4CommitOptions") != nullptr, metal4) << macos;
    const auto compile = make_object<MTLCompileOptions>();
    EXPECT_EQ(compile->responds_to(msg::SetMathMode::kSelector), sets) << macos;
    EXPECT_TRUE(compile->responds_to(msg::SetFastMath::kSelector)) << macos;
    EXPECT_THAT(violation_texts(), IsEmpty());
  }
}

TEST(MetalApi, ACompilerErrorIsTold) {
  const Bench bench;
  NSError* error = nullptr;
  Gpu::get().fail_compilation("program_source:7: error: of ours");
  EXPECT_EQ(bench.device->new_library(NSString::from("kernel void axpy()"), nullptr, &error),
            nullptr);
  ASSERT_NE(error, nullptr);
  EXPECT_THAT(error->localized_description()->text(), HasSubstr(":7: error"));
  EXPECT_EQ(error->underlying(), nullptr);
  const Owned<MTLLibrary> library(
      bench.device->new_library(NSString::from("kernel void axpy()"), nullptr, &error));
  EXPECT_TRUE(library);
}

TEST(MetalApi, CapturesAreWrittenWhereTheEnvironmentAllows) {
  const Bench bench;
  const std::string path = testing::TempDir() + "krserve_fake.gputrace";
  std::remove(path.c_str());
  MTLCaptureManager* const manager = MTLCaptureManager::shared();
  const auto descriptor = make_object<MTLCaptureDescriptor>();
  descriptor->set_capture_object(bench.device.get());
  descriptor->set_destination(MTLCaptureDestination::kTraceDocument);
  descriptor->set_output_url(NSURL::file(path));
  NSError* error = nullptr;
  unsetenv("MTL_CAPTURE_ENABLED");
  EXPECT_FALSE(manager->supports(MTLCaptureDestination::kTraceDocument));
  EXPECT_FALSE(manager->start(descriptor.get(), &error));
  EXPECT_EQ(error->code(), static_cast<NSInteger>(MTLCaptureError::kNotSupported));
  setenv("MTL_CAPTURE_ENABLED", "1", 1);
  ASSERT_TRUE(manager->start(descriptor.get(), &error));
  EXPECT_TRUE(manager->is_capturing());
  EXPECT_FALSE(manager->start(descriptor.get(), &error));
  EXPECT_EQ(error->code(), static_cast<NSInteger>(MTLCaptureError::kAlreadyCapturing));
  manager->stop();
  EXPECT_FALSE(manager->is_capturing());
  EXPECT_TRUE(std::ifstream(path).good());
  EXPECT_FALSE(manager->start(descriptor.get(), &error)) << "the file exists";
  EXPECT_EQ(error->code(), static_cast<NSInteger>(MTLCaptureError::kInvalidDescriptor));
  unsetenv("MTL_CAPTURE_ENABLED");
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
