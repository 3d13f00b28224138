// Buffers and heaps of the CPU device.
#pragma once

#include <memory>

#include "device/buffer.h"
#include "device/memory_counter.h"

namespace krserve {

// Anonymous memory, page-aligned, zero on first touch. Large ones ask for huge pages.
class CpuBuffer final : public Buffer {
 public:
  // Throws OutOfMemoryError.
  CpuBuffer(uint64_t bytes, Storage storage, std::shared_ptr<MemoryCounter> counter);
  ~CpuBuffer() override;

  std::byte* contents() const override { return data_; }
  uint64_t size_bytes() const override { return bytes_; }
  Storage storage() const override { return storage_; }

 private:
  std::byte* data_ = nullptr;
  uint64_t bytes_;
  uint64_t mapped_bytes_ = 0;
  Storage storage_;
  std::shared_ptr<MemoryCounter> counter_;
};

class CpuWrappedBuffer final : public Buffer {
 public:
  CpuWrappedBuffer(const void* data, uint64_t bytes)
      : data_(static_cast<std::byte*>(const_cast<void*>(data))), bytes_(bytes) {}

  std::byte* contents() const override { return data_; }
  uint64_t size_bytes() const override { return bytes_; }
  Storage storage() const override { return Storage::kShared; }

 private:
  std::byte* data_;
  uint64_t bytes_;
};

class CpuHeap final : public Heap {
 public:
  CpuHeap(uint64_t bytes, Storage storage, std::shared_ptr<MemoryCounter> counter)
      : buffer_(bytes, storage, std::move(counter)) {}
  Buffer& buffer() override { return buffer_; }

 private:
  CpuBuffer buffer_;
};

}  // namespace krserve
