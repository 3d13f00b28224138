#include "device/metal/metal_memory.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/units.h"
#include "device/metal/metal_context.h"

namespace krserve {
namespace {

using metal::MTLResourceOptions;

constexpr uint64_t kGpuPage = 16 * kKiB;  // an x86-64 process sees smaller ones

// Metal would look for dependencies between all that lies in a heap; barriers and events are ours.
MTLResourceOptions options_of(Storage storage) {
  return (storage == Storage::kPrivate ? MTLResourceOptions::kStorageModePrivate
                                       : MTLResourceOptions::kStorageModeShared) |
         MTLResourceOptions::kHazardTrackingModeUntracked;
}

[[noreturn]] void refuse(const MetalContext& context, uint64_t bytes, std::string_view why) {
  throw_error<OutOfMemoryError>(
      "metal_device.allocate",
      "{} refused ({}): {} held here, of {} that the system lets the GPU keep; lower "
      "memory.limit_mb or the KV cache, end other programs, or raise the sysctl "
      "iogpu.wired_limit_mb",
      format_bytes(bytes), why, format_bytes(context.memory.snapshot().live_bytes),
      format_bytes(context.facts.working_set_bytes));
}

void check_size(MetalContext& context, uint64_t bytes) {
  if (bytes == 0) {
    throw OutOfMemoryError("metal_device.allocate", "a buffer of 0 bytes was asked for");
  }
  context.throw_if_lost("metal_device.allocate");
  if (bytes > context.facts.max_buffer_bytes) {
    refuse(context, bytes,
           fmt::format("a buffer has at most {}", format_bytes(context.facts.max_buffer_bytes)));
  }
  // Metal would lend it, and the first step that uses it would fail.
  if (bytes > context.facts.working_set_bytes ||
      context.memory.snapshot().live_bytes > context.facts.working_set_bytes - bytes) {
    refuse(context, bytes, "more than can be resident");
  }
}

}  // namespace

MetalBuffer::MetalBuffer(std::shared_ptr<MetalContext> context, uint64_t bytes, Storage storage)
    : MetalBuffer(bytes, storage) {
  check_size(*context, bytes);
  const metal::AutoreleaseScope scope;
  metal::Owned<metal::MTLBuffer> buffer(context->device->new_buffer(bytes, options_of(storage)));
  if (!buffer) refuse(*context, bytes, "Metal has no memory");
  counted_bytes_ = bytes;
  take(std::move(context), std::move(buffer), 0);
  resident_ = buffer_.get();
  context_->residency.add(buffer_.get());
  context_->memory.add(counted_bytes_);
}

MetalBuffer::MetalBuffer(std::shared_ptr<MetalContext> context, metal::Owned<metal::MTLHeap> heap,
                         metal::Owned<metal::MTLBuffer> buffer, uint64_t bytes, Storage storage)
    : MetalBuffer(bytes, storage) {
  heap_ = std::move(heap);
  counted_bytes_ = bytes;
  take(std::move(context), std::move(buffer), 0);
  resident_ = heap_.get();
  context_->residency.add(heap_.get());
  context_->memory.add(counted_bytes_);
}

MetalBuffer::MetalBuffer(void* data, uint64_t bytes)
    : contents_(static_cast<std::byte*>(data)), bytes_(bytes), storage_(Storage::kShared) {}

// Metal takes whole pages; what else lies in the first and the last one is not touched.
std::unique_ptr<MetalBuffer> MetalBuffer::wrap(std::shared_ptr<MetalContext> context,
                                               const void* data, uint64_t bytes) {
  const uint64_t page = std::max<uint64_t>(sysconf(_SC_PAGESIZE), kGpuPage);
  const auto address = reinterpret_cast<uintptr_t>(data);
  const uint64_t offset = address % page;
  const uint64_t length = align_up(offset + bytes, page);
  if (bytes == 0 || length > context->facts.max_buffer_bytes) return nullptr;
  const metal::AutoreleaseScope scope;
  metal::Owned<metal::MTLBuffer> buffer(context->device->new_buffer_no_copy(
      reinterpret_cast<void*>(address - offset), length, options_of(Storage::kShared)));
  if (!buffer) return nullptr;
  std::unique_ptr<MetalBuffer> wrapped(new MetalBuffer(bytes, Storage::kShared));
  wrapped->take(std::move(context), std::move(buffer), offset);
  wrapped->resident_ = wrapped->buffer_.get();
  wrapped->context_->residency.add(wrapped->buffer_.get());
  return wrapped;
}

void MetalBuffer::take(std::shared_ptr<MetalContext> context, metal::Owned<metal::MTLBuffer> buffer,
                       uint64_t offset) {
  context_ = std::move(context);
  buffer_ = std::move(buffer);
  gpu_address_ = buffer_->gpu_address() + offset;
  if (storage_ != Storage::kPrivate) {
    contents_ = static_cast<std::byte*>(buffer_->contents()) + offset;
  }
}

MetalBuffer::~MetalBuffer() {
  if (!context_) return;
  const metal::AutoreleaseScope scope;
  context_->residency.remove(resident_);
  buffer_ = {};
  heap_ = {};
  if (counted_bytes_ > 0) context_->memory.remove(counted_bytes_);
}

MetalHeap::MetalHeap(const std::shared_ptr<MetalContext>& context, uint64_t bytes,
                     Storage storage) {
  check_size(*context, bytes);
  const metal::AutoreleaseScope scope;
  const metal::MTLSizeAndAlign needed =
      context->device->heap_buffer_size_and_align(bytes, options_of(storage));
  const auto descriptor = metal::make_object<metal::MTLHeapDescriptor>();
  descriptor->set_type(metal::MTLHeapType::kPlacement);
  descriptor->set_size(align_up(needed.size, needed.align));
  descriptor->set_storage_mode(storage == Storage::kPrivate ? metal::MTLStorageMode::kPrivate
                                                            : metal::MTLStorageMode::kShared);
  descriptor->set_hazard_tracking_mode(metal::MTLHazardTrackingMode::kUntracked);
  metal::Owned<metal::MTLHeap> heap(context->device->new_heap(descriptor.get()));
  if (!heap) refuse(*context, bytes, "Metal has no memory for a heap");
  metal::Owned<metal::MTLBuffer> buffer(heap->new_buffer(bytes, options_of(storage), 0));
  if (!buffer) refuse(*context, bytes, "Metal has no place for the heap's buffer");
  buffer_ =
      std::make_unique<MetalBuffer>(context, std::move(heap), std::move(buffer), bytes, storage);
}

}  // namespace krserve
