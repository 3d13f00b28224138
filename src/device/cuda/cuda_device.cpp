#include "device/cuda/cuda_device.h"

#include "base/error.h"
#include "base/units.h"
#include "device/cuda/cuda_context.h"
#include "device/cuda/cuda_memory.h"
#include "device/cuda/cuda_queue.h"
#include "device/cuda/cuda_timeline.h"

namespace krserve {
namespace {

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(const CudaFacts& facts) : context_(std::make_shared<CudaContext>(facts)) {
    info_.backend = "cuda";
    info_.name = facts.name;
    info_.memory_bytes = facts.memory_bytes;
    info_.alignment_bytes = 256;
    info_.weight_alignment_bytes = 16;
  }

  const DeviceInfo& info() const override { return info_; }

  std::unique_ptr<Heap> new_heap(uint64_t bytes, Storage storage) override {
    return std::make_unique<CudaHeap>(context_, bytes, storage);
  }

  std::unique_ptr<Buffer> new_buffer(uint64_t bytes, Storage storage) override {
    return std::make_unique<CudaBuffer>(context_, bytes, storage);
  }

  // Kernels would read it over the bus.
  std::unique_ptr<Buffer> wrap_host_memory(const void*, uint64_t) override { return nullptr; }

  std::unique_ptr<Buffer> new_host_view(void* data, uint64_t bytes) override {
    return std::make_unique<CudaBuffer>(data, bytes);
  }

  std::shared_ptr<Queue> new_queue(QueueKind kind) override {
    return std::make_shared<CudaQueue>(context_, kind);
  }

  std::shared_ptr<Timeline> new_timeline() override {
    return std::make_shared<CudaTimeline>(context_);
  }

  DeviceMemory memory() const override { return context_->memory.snapshot(); }
  uint64_t clock_ns() const override { return now_ns(); }

 private:
  std::shared_ptr<CudaContext> context_;
  DeviceInfo info_;
};

}  // namespace

bool has_cuda_device() {
  return cuda_missing_reason().empty();
}

std::shared_ptr<Device> make_cuda_device() {
  if (const std::string reason = cuda_missing_reason(); !reason.empty()) {
    throw_error<DeviceError>("device.open",
                             "no CUDA device to be had: {}; install or update the NVIDIA driver, "
                             "look at CUDA_VISIBLE_DEVICES, or use device: cpu",
                             reason);
  }
  const CudaFacts facts = read_cuda_facts(0);
  const auto code = static_cast<cudaError_t>(kernels::cuda::prepare_kernels(facts.gpu));
  if (code != cudaSuccess) {
    cudaGetLastError();
    throw_error<DeviceError>("cuda_device.open",
                             "{}: its kernels cannot be loaded: {}; build with "
                             "-DKRSERVE_CUDA_ARCHITECTURES={}",
                             facts.name, cuda_error_text(code), facts.gpu.compute_capability);
  }
  return std::make_shared<CudaDevice>(facts);
}

}  // namespace krserve
