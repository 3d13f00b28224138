#include "device/metal/selftest/probes.h"

#include <chrono>
#include <future>
#include <memory>

#include "kernels/metal_kernels.h"

namespace krserve {
namespace {

constexpr metal::NSUInteger kBytes = 4096;
constexpr std::chrono::seconds kPatience{10};
constexpr const char* kKernel = "kr_probe";
// A text of its own: the kernels' may be what does not compile.
constexpr const char* kKernelText =
    "#include <metal_stdlib>\n"
    "kernel void kr_probe(device uint* x [[buffer(0)]]) { x[0] = 1; }\n";

metal::Owned<metal::MTLHeap> new_heap(metal::MTLDevice& device,
                                      const metal::MTLHeapDescriptor& descriptor) {
  return metal::Owned<metal::MTLHeap>(device.new_heap(&descriptor));
}

}  // namespace

template <class T>
T* MetalProbes::keep(const std::string& receiver, metal::Owned<T> object) {
  T* const kept = object.get();
  if (kept) objects_[receiver] = metal::Owned<metal::NSObject>::retained(kept);
  return kept;
}

template <class T>
T* MetalProbes::keep_retained(const std::string& receiver, T* object) {
  return keep(receiver, metal::Owned<T>::retained(object));
}

MetalProbes::MetalProbes(metal::Owned<metal::MTLDevice> device, bool metal4)
    : device_(std::move(device)) {
  keep_retained("NSObject", device_.get());
  keep_retained("MTLDevice", device_.get());
  keep_retained("MTLArchitecture", device_->architecture());
  make_foundation();
  make_resources();
  make_library();
  make_metal3();
  if (metal4) make_metal4();
}

// Encoders must have ended before they are released.
MetalProbes::~MetalProbes() {
  const auto end = [this](const char* receiver) {
    if (const metal::NSObject* const encoder = find(receiver)) {
      metal::send<metal::msg::EndEncoding>(encoder);
    }
  };
  end("MTLBlitCommandEncoder");
  end("MTLComputeCommandEncoder");
  end("MTL4ComputeCommandEncoder");
  if (const metal::NSObject* const commands = find("MTL4CommandBuffer")) {
    metal::send<metal::msg::End4>(commands);
  }
}

const metal::NSObject* MetalProbes::find(const std::string& receiver) const {
  static const std::map<std::string, std::string> kProtocols = {
      {"MTLAllocation", "MTLBuffer"},
      {"MTLEvent", "MTLSharedEvent"},
      {"MTLCommandEncoder", "MTLComputeCommandEncoder"},
      {"MTL4CommandEncoder", "MTL4ComputeCommandEncoder"},
  };
  const auto protocol = kProtocols.find(receiver);
  const auto it = objects_.find(protocol == kProtocols.end() ? receiver : protocol->second);
  return it == objects_.end() ? nullptr : it->second.get();
}

void MetalProbes::make_foundation() {
  keep_retained("NSString", metal::NSString::from("probe"));
  keep_retained("NSURL", metal::NSURL::file("/"));
  keep_retained("NSProcessInfo", metal::NSProcessInfo::get());
  keep_retained("MTLCaptureManager", metal::MTLCaptureManager::shared());
  keep("MTLCaptureDescriptor", metal::make_object<metal::MTLCaptureDescriptor>());
  metal::NSError* error = nullptr;
  const metal::Owned<metal::MTLLibrary> none(
      device_->new_library(metal::NSString::from("#error probe\n"), nullptr, &error));
  if (!keep_retained("NSError", error)) return;
  keep_retained("NSDictionary", metal::send<metal::msg::ErrorUserInfo>(error));
}

void MetalProbes::make_resources() {
  const auto shared = metal::MTLResourceOptions::kStorageModeShared;
  keep("MTLBuffer", metal::Owned<metal::MTLBuffer>(device_->new_buffer(kBytes, shared)));
  keep("MTLSharedEvent", metal::Owned<metal::MTLSharedEvent>(device_->new_shared_event()));
  auto* const heap = keep("MTLHeapDescriptor", metal::make_object<metal::MTLHeapDescriptor>());
  heap->set_type(metal::MTLHeapType::kPlacement);
  heap->set_storage_mode(metal::MTLStorageMode::kShared);
  heap->set_size(uint64_t{1} << 20);
  keep("MTLHeap", new_heap(*device_.get(), *heap));
  if (!device_->responds_to(metal::msg::NewResidencySet::kSelector)) return;
  auto* const set =
      keep("MTLResidencySetDescriptor", metal::make_object<metal::MTLResidencySetDescriptor>());
  metal::NSError* error = nullptr;
  keep("MTLResidencySet",
       metal::Owned<metal::MTLResidencySet>(device_->new_residency_set(set, &error)));
}

void MetalProbes::make_library() {
  keep("MTLCompileOptions", metal::make_object<metal::MTLCompileOptions>());
  const std::string texts[] = {kKernelText, kernels::metal::library_text()};
  const char* const names[] = {kKernel, kernels::metal::kernel_names()[0]};
  for (size_t i = 0; i < 2 && !find("MTLComputePipelineState"); ++i) {
    metal::NSError* error = nullptr;
    metal::Owned<metal::MTLLibrary> library(
        device_->new_library(metal::NSString::from(texts[i]), nullptr, &error));
    if (!library) continue;
    metal::Owned<metal::MTLFunction> function(
        library->new_function(metal::NSString::from(names[i])));
    keep_retained("NSArray", library->function_names());
    keep("MTLLibrary", std::move(library));
    if (!function) continue;
    keep("MTLComputePipelineState", metal::Owned<metal::MTLComputePipelineState>(
                                        device_->new_pipeline(function.get(), &error)));
    keep("MTLFunction", std::move(function));
  }
}

void MetalProbes::make_metal3() {
  auto* const queue =
      keep("MTLCommandQueue", metal::Owned<metal::MTLCommandQueue>(device_->new_command_queue(8)));
  if (!queue) return;
  auto* const commands = keep_retained("MTLCommandBuffer", queue->command_buffer());
  if (commands) {
    keep_retained("MTLComputeCommandEncoder",
                  commands->compute_encoder(metal::MTLDispatchType::kConcurrent));
  }
  // Of a command buffer of its own: it has one encoder at a time.
  if (metal::MTLCommandBuffer* const other = queue->command_buffer()) {
    keep_retained("MTLBlitCommandEncoder", other->blit_encoder());
    keep_retained("the blit encoder's MTLCommandBuffer", other);
  }
}

void MetalProbes::make_metal4() {
  auto* const descriptor =
      keep("MTL4ArgumentTableDescriptor", metal::make_object<metal::MTL4ArgumentTableDescriptor>());
  descriptor->set_max_buffer_bind_count(1);
  metal::NSError* error = nullptr;
  keep("MTL4ArgumentTable",
       metal::Owned<metal::MTL4ArgumentTable>(device_->new_argument_table(descriptor, &error)));
  keep("MTL4CommitOptions", metal::make_object<metal::MTL4CommitOptions>());
  auto* const queue = keep("MTL4CommandQueue",
                           metal::Owned<metal::MTL4CommandQueue>(device_->new_command_queue4()));
  auto* const allocator =
      keep("MTL4CommandAllocator",
           metal::Owned<metal::MTL4CommandAllocator>(device_->new_command_allocator()));
  auto* const commands = keep(
      "MTL4CommandBuffer", metal::Owned<metal::MTL4CommandBuffer>(device_->new_command_buffer4()));
  if (!queue || !allocator || !commands) return;
  make_feedback(*queue);
  commands->begin(allocator);
  keep_retained("MTL4ComputeCommandEncoder", commands->compute_encoder());
}

// Metal hands it to the handler of a commit alone.
void MetalProbes::make_feedback(metal::MTL4CommandQueue& queue) {
  const metal::Owned<metal::MTL4CommandAllocator> allocator(device_->new_command_allocator());
  const metal::Owned<metal::MTL4CommandBuffer> commands(device_->new_command_buffer4());
  const auto options = metal::make_object<metal::MTL4CommitOptions>();
  if (!allocator || !commands || !options) return;
  using Feedback = metal::Owned<metal::MTL4CommitFeedback>;
  const auto told = std::make_shared<std::promise<Feedback>>();
  auto feedback = told->get_future();
  options->add_feedback_handler(
      [told](metal::MTL4CommitFeedback* given) { told->set_value(Feedback::retained(given)); });
  commands->begin(allocator.get());
  commands->compute_encoder()->end_encoding();
  commands->end();
  const metal::MTL4CommandBuffer* const one = commands.get();
  queue.commit(&one, 1, options.get());
  if (feedback.wait_for(kPatience) == std::future_status::ready) {
    keep("MTL4CommitFeedback", feedback.get());
  }
}

}  // namespace krserve
