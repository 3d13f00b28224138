// Buffers and heaps of the CUDA device, and the count of what was allocated.
#pragma once

#include <atomic>
#include <memory>

#include "device/buffer.h"
#include "device/device.h"

namespace krserve {

struct CudaContext;

class CudaMemoryCounter {
 public:
  void add(uint64_t bytes) noexcept;
  void remove(uint64_t bytes) noexcept;
  DeviceMemory snapshot() const;

 private:
  std::atomic<uint64_t> allocations_{0};
  std::atomic<uint64_t> live_bytes_{0};
  std::atomic<uint64_t> peak_bytes_{0};
};

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

  // For the device and for CUDA's calls (addresses are unified).
  std::byte* address() const { return address_; }
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
