#include "device/metal/metal_device.h"

#include "base/error.h"
#include "base/units.h"
#include "device/metal/metal_context.h"
#include "device/metal/metal_copy_queue.h"
#include "device/metal/metal_memory.h"
#include "device/metal/metal_queue.h"
#include "device/metal/metal_timeline.h"

namespace krserve {
namespace {

constexpr uint32_t kAlignment = 256;
constexpr uint32_t kWeightAlignment = 4;  // of the kernels' loads

class MetalDevice final : public Device {
 public:
  MetalDevice(metal::Owned<metal::MTLDevice> device, const MetalDeviceOptions& options)
      : context_(std::make_shared<MetalContext>(std::move(device), options)) {
    info_.backend = "metal";
    info_.name = context_->facts.name;
    info_.memory_bytes = context_->facts.working_set_bytes;
    info_.unified_memory = true;
    info_.alignment_bytes = kAlignment;
    info_.weight_alignment_bytes = kWeightAlignment;
    info_.prompt_matmul = context_->facts.gpu.matrices;
  }

  const DeviceInfo& info() const override { return info_; }

  std::unique_ptr<Heap> new_heap(uint64_t bytes, Storage storage) override {
    return std::make_unique<MetalHeap>(context_, bytes, storage);
  }

  std::unique_ptr<Buffer> new_buffer(uint64_t bytes, Storage storage) override {
    return std::make_unique<MetalBuffer>(context_, bytes, storage);
  }

  std::unique_ptr<Buffer> wrap_host_memory(const void* data, uint64_t bytes) override {
    return MetalBuffer::wrap(context_, data, bytes);
  }

  std::unique_ptr<Buffer> new_host_view(void* data, uint64_t bytes) override {
    return std::make_unique<MetalBuffer>(data, bytes);
  }

  std::shared_ptr<Queue> new_queue(QueueKind kind) override {
    if (kind == QueueKind::kCompute) return std::make_shared<MetalQueue>(context_);
    return std::make_shared<MetalCopyQueue>(context_, kind);
  }

  std::shared_ptr<Timeline> new_timeline() override {
    return std::make_shared<MetalTimeline>(context_);
  }

  DeviceMemory memory() const override { return context_->memory.snapshot(); }
  uint64_t clock_ns() const override { return now_ns(); }

 private:
  std::shared_ptr<MetalContext> context_;
  DeviceInfo info_;
};

metal::Owned<metal::MTLDevice> system_device() {
  const metal::AutoreleaseScope scope;
  return metal::Owned<metal::MTLDevice>(MTLCreateSystemDefaultDevice());
}

// What is wrong with a device, or empty.
std::string unfit_reason(metal::MTLDevice& device) {
  const metal::AutoreleaseScope scope;
  if (!device.has_unified_memory()) {
    return fmt::format("{} has memory of its own; the back end is for Apple silicon",
                       device.name()->text());
  }
  return {};
}

}  // namespace

std::string metal_missing_reason() {
  const auto device = system_device();
  if (!device) return "Metal finds no device: a session without a GPU, or a virtual machine";
  return unfit_reason(*device.get());
}

bool has_metal_device() {
  return metal_missing_reason().empty();
}

std::shared_ptr<Device> make_metal_device(const MetalDeviceOptions& options) {
  auto device = system_device();
  if (!device) {
    throw DeviceError("device.open",
                      "no Metal device to be had (a session without a GPU, or a virtual machine); "
                      "use device: cpu");
  }
  if (const std::string reason = unfit_reason(*device.get()); !reason.empty()) {
    throw_error<DeviceError>("device.open", "{}; use device: cpu", reason);
  }
  return std::make_shared<MetalDevice>(std::move(device), options);
}

}  // namespace krserve
