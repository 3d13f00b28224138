#include "device/metal/metal_scratch.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/error.h"
#include "base/units.h"

namespace krserve {
namespace {

constexpr uint64_t kSmallest = 64 * kKiB;
constexpr size_t kFirst = 4;

}  // namespace

MetalScratchPool::MetalScratchPool(metal::MTLDevice& device, MetalResidency& residency,
                                   MemoryCounter& memory)
    : device_(device), residency_(residency), memory_(memory) {
  for (size_t i = 0; i < kFirst; ++i) free_.push_back(make(kSmallest));
}

MetalScratchPool::~MetalScratchPool() {
  for (const MetalScratch& scratch : free_) {
    residency_.remove(scratch.buffer.get());
    memory_.remove(scratch.bytes);
  }
}

MetalScratch MetalScratchPool::make(uint64_t bytes) {
  const metal::AutoreleaseScope scope;
  MetalScratch made;
  made.buffer = metal::Owned<metal::MTLBuffer>(
      device_.new_buffer(bytes, metal::MTLResourceOptions::kStorageModeShared |
                                    metal::MTLResourceOptions::kHazardTrackingModeUntracked));
  if (!made.buffer) {
    throw_error<OutOfMemoryError>(
        "metal_device.allocate",
        "Metal has no {} for the parameters of a step, {} held; end other "
        "programs or lower memory.limit_mb",
        format_bytes(bytes), format_bytes(memory_.snapshot().live_bytes));
  }
  made.contents = static_cast<std::byte*>(made.buffer->contents());
  made.gpu_address = made.buffer->gpu_address();
  made.bytes = bytes;
  residency_.add(made.buffer.get());
  memory_.add(bytes);
  return made;
}

MetalScratch MetalScratchPool::take(uint64_t bytes) {
  const uint64_t size = std::bit_ceil(std::max(bytes, kSmallest));
  const std::lock_guard lock(mutex_);
  free_.reserve(free_.size() + ++lent_);  // give() must not throw
  const auto found = std::find_if(free_.begin(), free_.end(),
                                  [&](const MetalScratch& one) { return one.bytes == size; });
  if (found == free_.end()) return make(size);
  MetalScratch taken = std::move(*found);
  *found = std::move(free_.back());
  free_.pop_back();
  return taken;
}

void MetalScratchPool::give(MetalScratch scratch) noexcept {
  const std::lock_guard lock(mutex_);
  --lent_;
  free_.push_back(std::move(scratch));
}

}  // namespace krserve
