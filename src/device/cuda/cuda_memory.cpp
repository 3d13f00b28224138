#include "device/cuda/cuda_memory.h"

#include "base/error.h"
#include "base/units.h"
#include "device/cuda/cuda_context.h"

namespace krserve {
namespace {

cudaError_t allocate(const CudaContext& context, CudaMemoryKind kind, uint64_t bytes, void** out) {
  // CUDA would try for a while, or overflow.
  if (kind == CudaMemoryKind::kDevice && bytes > context.facts.memory_bytes) {
    return cudaErrorMemoryAllocation;
  }
  if (kind == CudaMemoryKind::kPinned) {
    return cudaHostAlloc(out, bytes, cudaHostAllocPortable | cudaHostAllocMapped);
  }
  return cudaMalloc(out, bytes);
}

[[noreturn]] void refuse(const CudaContext& context, CudaMemoryKind kind, uint64_t bytes,
                         cudaError_t code) {
  const std::string held = format_bytes(context.memory.snapshot().live_bytes);
  if (kind == CudaMemoryKind::kPinned) {
    throw_error<OutOfMemoryError>(
        "cuda_device.allocate",
        "{} of pinned host memory refused ({}), {} held; lower staging_buffer_size_mb or raise the "
        "system's limit of locked memory",
        format_bytes(bytes), cuda_error_text(code), held);
  }
  size_t available = 0;
  size_t total = 0;
  if (cudaMemGetInfo(&available, &total) != cudaSuccess) cudaGetLastError();
  throw_error<OutOfMemoryError>(
      "cuda_device.allocate",
      "{} refused ({}): {} of {} free on the device, {} held here; lower memory.limit_mb or the KV "
      "cache, or end other programs on it",
      format_bytes(bytes), cuda_error_text(code), format_bytes(available), format_bytes(total),
      held);
}

}  // namespace

CudaBuffer::CudaBuffer(std::shared_ptr<CudaContext> context, uint64_t bytes, Storage storage)
    : context_(std::move(context)),
      bytes_(bytes),
      storage_(storage),
      kind_(storage == Storage::kStaging ? CudaMemoryKind::kPinned : CudaMemoryKind::kDevice) {
  if (bytes == 0) {
    throw OutOfMemoryError("cuda_device.allocate", "a buffer of 0 bytes was asked for");
  }
  context_->throw_if_lost("cuda_device.allocate");
  context_->make_current();
  void* address = nullptr;
  if (const cudaError_t code = allocate(*context_, kind_, bytes, &address); code != cudaSuccess) {
    if (context_->is_lost_after(code, "an allocation")) {
      context_->throw_if_lost("cuda_device.allocate");
    }
    refuse(*context_, kind_, bytes, code);
  }
  address_ = static_cast<std::byte*>(address);
  context_->memory.add(bytes_);
}

CudaBuffer::CudaBuffer(void* data, uint64_t bytes)
    : address_(static_cast<std::byte*>(data)),
      bytes_(bytes),
      storage_(Storage::kShared),
      kind_(CudaMemoryKind::kPageable) {}

// Failures are the lost device's, whose memory is gone anyway.
CudaBuffer::~CudaBuffer() {
  if (!context_) return;
  context_->make_current();
  const cudaError_t code =
      kind_ == CudaMemoryKind::kPinned ? cudaFreeHost(address_) : cudaFree(address_);
  if (code != cudaSuccess) cudaGetLastError();
  context_->memory.remove(bytes_);
}

}  // namespace krserve
