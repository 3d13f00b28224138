#include "device/metal/metal_residency.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/units.h"
#include "device/metal/metal_errors.h"

namespace krserve {
namespace {

constexpr std::chrono::milliseconds kBeat{500};
constexpr metal::NSUInteger kFirstCapacity = 64;

metal::Owned<metal::MTLResidencySet> make_set(metal::MTLDevice& device) {
  const metal::AutoreleaseScope scope;
  const auto descriptor = metal::make_object<metal::MTLResidencySetDescriptor>();
  descriptor->set_initial_capacity(kFirstCapacity);
  metal::NSError* error = nullptr;
  metal::Owned<metal::MTLResidencySet> set(device.new_residency_set(descriptor.get(), &error));
  if (!set) {
    throw_error<DeviceError>("device.open", "Metal makes no residency set: {}",
                             metal_error_text(error));
  }
  return set;
}

}  // namespace

MetalResidency::MetalResidency(metal::MTLDevice& device, bool has_sets,
                               std::chrono::nanoseconds keep)
    : keep_(keep) {
  if (!has_sets) return;
  set_ = make_set(device);
  heartbeat_ = std::thread([this] { beat(); });
}

MetalResidency::~MetalResidency() {
  if (!heartbeat_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  heartbeat_.join();
  const metal::AutoreleaseScope scope;
  commit_locked();
  set_->end_residency();
}

void MetalResidency::add(const metal::MTLAllocation* allocation, bool is_heap) {
  const std::lock_guard lock(mutex_);
  if (!set_) {
    named_.push_back({allocation, is_heap});
    return;
  }
  set_->add(allocation);
  changed_ = true;
  added_ = true;
}

// The set holds on to it until its next commit, which the heartbeat sees to.
void MetalResidency::remove(const metal::MTLAllocation* allocation) {
  const std::lock_guard lock(mutex_);
  if (!set_) {
    std::erase_if(named_, [&](const Named& one) { return one.allocation == allocation; });
    return;
  }
  set_->remove(allocation);
  changed_ = true;
}

void MetalResidency::touch() {
  const std::lock_guard lock(mutex_);
  last_use_ns_ = now_ns();
  if (changed_) commit_locked();
}

void MetalResidency::commit_locked() {
  if (!changed_) return;
  changed_ = false;
  set_->commit();
  // Before the first step that needs it would wait for it.
  if (std::exchange(added_, false)) set_->request_residency();
}

void MetalResidency::name_all(metal::MTLComputeCommandEncoder& encoder) {
  const std::lock_guard lock(mutex_);
  for (const Named& one : named_) {
    if (one.is_heap) {
      encoder.use_heap(static_cast<const metal::MTLHeap*>(one.allocation));
    } else {
      encoder.use_resource(static_cast<const metal::MTLBuffer*>(one.allocation),
                           metal::MTLResourceUsage::kReadWrite);
    }
  }
}

void MetalResidency::beat() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    wake_.wait_for(lock, kBeat);
    const metal::AutoreleaseScope scope;
    commit_locked();
    const auto since = std::chrono::nanoseconds(now_ns() - last_use_ns_);
    if (last_use_ns_ != 0 && since < keep_) set_->request_residency();
  }
}

}  // namespace krserve
