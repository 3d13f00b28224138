// Buffers and heaps of the CUDA device.
#pragma once

#include <memory>

#include "device/buffer.h"

namespace krserve {

struct CudaContext;

enum class CudaMemoryKind {
  kDevice,
  kPinned,    // host memory that the device reaches too
  kPageable,  // host memory of somebody else, for copies only
};

class CudaBuffer final : public Buffer {
 public:
  // kStaging is pinned host memory, all else the device's. Throws OutOfMemoryError, and DeviceError
  // if the device is lost.
  CudaBuffer(std::shared_ptr<CudaContext> context, uint64_t bytes, Storage storage);
  // A view of pageable host memory.
  CudaBuffer(void* data, uint64_t bytes);
  ~CudaBuffer() override;

  std::byte* contents() const override {
    return kind_ == CudaMemoryKind::kDevice ? nullptr : address_;
  }
  uint64_t size_bytes() const override { return bytes_; }
  Storage storage() const override { return storage_; }

  // For the host too where it reaches the memory: addresses are unified.
  std::byte* address() const override { return address_; }
  CudaMemoryKind kind() const { return kind_; }

 private:
  std::shared_ptr<CudaContext> context_;  // null for a view
  std::byte* address_ = nullptr;
  uint64_t bytes_;
  Storage storage_;
  CudaMemoryKind kind_;
};

class CudaHeap final : public Heap {
 public:
  CudaHeap(std::shared_ptr<CudaContext> context, uint64_t bytes, Storage storage)
      : buffer_(std::move(context), bytes, storage) {}
  Buffer& buffer() override { return buffer_; }

 private:
  CudaBuffer buffer_;
};

}  // namespace krserve
