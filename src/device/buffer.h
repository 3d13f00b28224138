// Device memory: buffers, heaps that buffers are cut from, and views of a part of either.
#pragma once

#include <cstddef>
#include <cstdint>

namespace krserve {

enum class Storage {
  kPrivate,  // the device's own; contents() may be null
  kShared,   // one memory for host and device where the device can, else like kPrivate
  kStaging,  // host memory that the device copies from and to at full speed
};

class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  virtual ~Buffer() = default;

  // Host address, or null where the host cannot reach it.
  virtual std::byte* contents() const = 0;
  // For other libraries on the same device: contents(), or the device's own address where only the
  // device reaches the memory (CUDA). Null where the device gives none (Metal's private storage).
  virtual std::byte* address() const { return contents(); }
  virtual uint64_t size_bytes() const = 0;
  virtual Storage storage() const = 0;
};

// Part of a buffer. Does not own it. An empty view binds nothing.
struct BufferView {
  Buffer* buffer = nullptr;
  uint64_t offset = 0;
  uint64_t bytes = 0;

  explicit operator bool() const { return buffer != nullptr; }
  std::byte* contents() const { return buffer ? at_offset(buffer->contents()) : nullptr; }
  std::byte* address() const { return buffer ? at_offset(buffer->address()) : nullptr; }
  BufferView sub(uint64_t at, uint64_t size) const { return {buffer, offset + at, size}; }

 private:
  std::byte* at_offset(std::byte* base) const { return base ? base + offset : nullptr; }
};

inline BufferView whole(Buffer& buffer) {
  return {&buffer, 0, buffer.size_bytes()};
}

// A large block from the device, of which the memory pool hands out views.
class Heap {
 public:
  Heap() = default;
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;
  virtual ~Heap() = default;

  // The buffer that covers the heap.
  virtual Buffer& buffer() = 0;
  uint64_t size_bytes() { return buffer().size_bytes(); }
};

}  // namespace krserve
