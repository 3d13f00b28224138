// Buffers and heaps of the Metal device.
#pragma once

#include <memory>

#include "device/buffer.h"
#include "device/metal/api/resources.h"

namespace krserve {

struct MetalContext;

class MetalBuffer final : public Buffer {
 public:
  // kPrivate is the GPU's alone, all else one memory for both. Throws OutOfMemoryError, and
  // DeviceError if the device is lost.
  MetalBuffer(std::shared_ptr<MetalContext> context, uint64_t bytes, Storage storage);
  // Over memory of the host, without a copy; null if Metal cannot take as much in one piece.
  static std::unique_ptr<MetalBuffer> wrap(std::shared_ptr<MetalContext> context, const void* data,
                                           uint64_t bytes);
  // The buffer that covers a heap.
  MetalBuffer(std::shared_ptr<MetalContext> context, metal::Owned<metal::MTLHeap> heap,
              metal::Owned<metal::MTLBuffer> buffer, uint64_t bytes, Storage storage);
  // A view of pageable host memory: no address for the GPU.
  MetalBuffer(void* data, uint64_t bytes);
  ~MetalBuffer() override;

  std::byte* contents() const override { return contents_; }
  uint64_t size_bytes() const override { return bytes_; }
  Storage storage() const override { return storage_; }

  // 0 for a host view.
  uint64_t gpu_address() const { return gpu_address_; }

 private:
  MetalBuffer(uint64_t bytes, Storage storage) : bytes_(bytes), storage_(storage) {}
  void take(std::shared_ptr<MetalContext> context, metal::Owned<metal::MTLBuffer> buffer,
            uint64_t offset);

  std::shared_ptr<MetalContext> context_;  // null for a host view
  metal::Owned<metal::MTLHeap> heap_;
  metal::Owned<metal::MTLBuffer> buffer_;
  const metal::MTLAllocation* resident_ = nullptr;
  std::byte* contents_ = nullptr;
  uint64_t gpu_address_ = 0;
  uint64_t bytes_;
  uint64_t counted_bytes_ = 0;
  Storage storage_;
};

// A placement heap, and the one buffer in it: what is cut from it is cut by our pool.
class MetalHeap final : public Heap {
 public:
  // Throws OutOfMemoryError, DeviceError.
  MetalHeap(const std::shared_ptr<MetalContext>& context, uint64_t bytes, Storage storage);
  Buffer& buffer() override { return *buffer_; }

 private:
  std::unique_ptr<MetalBuffer> buffer_;
};

}  // namespace krserve
