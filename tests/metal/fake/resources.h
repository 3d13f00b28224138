// Memory and events of the model: what Metal refuses about them, it refuses.
#pragma once

#include <set>
#include <vector>

#include "device/metal/api/types.h"
#include "metal/fake/gpu.h"
#include "metal/fake/objc_abi.h"

namespace krserve::fake_metal {

using metal::MTLResourceOptions;
using metal::MTLSizeAndAlign;
using metal::NSInteger;
using metal::NSUInteger;

class Allocation : public Object {
 public:
  virtual NSUInteger allocated_size() = 0;
};

class HeapDescriptor : public Object {
 public:
  const char* class_name() const override { return "MTLHeapDescriptor"; }
  void set_size(NSUInteger value) { size = value; }
  void set_storage(metal::MTLStorageMode value) { storage = value; }
  void set_hazards(metal::MTLHazardTrackingMode value) { hazards = value; }
  void set_type(metal::MTLHeapType value) { type = value; }

  NSUInteger size = 0;
  metal::MTLStorageMode storage = metal::MTLStorageMode::kPrivate;
  metal::MTLHazardTrackingMode hazards = metal::MTLHazardTrackingMode::kDefault;
  metal::MTLHeapType type = metal::MTLHeapType::kAutomatic;
};

class Heap : public Allocation {
 public:
  // Null where there is no memory.
  static Heap* make(const HeapDescriptor& descriptor);
  const char* class_name() const override { return "MTLHeap"; }
  NSUInteger allocated_size() override { return memory_->size; }
  Buffer* new_buffer(NSUInteger length, MTLResourceOptions options, NSUInteger offset);
  void forget(const Buffer* buffer);

 protected:
  void end() override { Gpu::get().give_memory(memory_->size); }

 private:
  struct Block {
    const Buffer* buffer;
    uint64_t begin;
    uint64_t end;
  };

  std::shared_ptr<Memory> memory_;
  metal::MTLStorageMode storage_{};
  metal::MTLHeapType type_{};
  std::vector<Block> blocks_;
};

class Buffer : public Allocation {
 public:
  Buffer(std::shared_ptr<Memory> memory, uint64_t offset, NSUInteger length,
         metal::MTLStorageMode storage, Heap* heap);
  // Null where there is no memory.
  static Buffer* make(NSUInteger length, MTLResourceOptions options);
  static Buffer* make_no_copy(void* pages, NSUInteger length, MTLResourceOptions options,
                              const RawBlock* deallocator);
  // The buffer that holds the address, or null.
  static Buffer* at(uint64_t address);

  const char* class_name() const override { return "MTLBuffer"; }
  NSUInteger allocated_size() override { return length_; }
  void* contents();
  NSUInteger length() { return length_; }
  uint64_t address() { return address_; }

  std::byte* bytes() const { return memory_->bytes + offset_; }
  Heap* heap() const { return heap_.get(); }
  Use use(uint64_t offset, uint64_t bytes, bool writes) {
    return {memory_, this, offset_ + offset, offset_ + offset + bytes, writes};
  }
  bool is_range(uint64_t offset, uint64_t bytes) const {
    return offset <= length_ && bytes <= length_ - offset;
  }

  // The last pass of each queue that was committed to use it.
  Clock last_use;

 protected:
  void end() override;

 private:
  std::shared_ptr<Memory> memory_;
  uint64_t offset_;
  NSUInteger length_;
  uint64_t address_;
  metal::MTLStorageMode storage_;
  uint64_t owned_bytes_ = 0;
  Ref<Heap> heap_;
  std::shared_ptr<RawBlock> deallocator_;
};

class Event : public Object {
 public:
  const char* class_name() const override { return "MTLSharedEvent"; }
  uint64_t value() { return observe(), value_; }
  void set_value(uint64_t value) { signal(value, Gpu::get().host_clock); }
  bool wait_until(uint64_t value, uint64_t timeout_ms);

  // The GPU's side.
  void signal(uint64_t value, const Clock& ended);
  bool is_reached(uint64_t value) const { return value_ >= value; }
  Clock clock_at(uint64_t value) const;

 private:
  struct Signal {
    uint64_t value;
    Clock ended;
  };
  // The host has read the value.
  void observe();

  uint64_t value_ = 0;
  std::vector<Signal> signals_;
};

class ResidencySetDescriptor : public Object {
 public:
  const char* class_name() const override { return "MTLResidencySetDescriptor"; }
  void set_capacity(NSUInteger) {}
};

class ResidencySet : public Object {
 public:
  const char* class_name() const override { return "MTLResidencySet"; }
  void add(Allocation* allocation);
  void remove(Allocation* allocation);
  void commit();
  void request() { Gpu::get().count_residency_request(); }
  void end_residency() {}
  bool holds(const Use& use) const;

 private:
  std::vector<Ref<Allocation>> pending_;
  std::vector<Ref<Allocation>> committed_;
};

using ResidencySets = std::vector<Ref<ResidencySet>>;
void add_residency_set(ResidencySets& sets, ResidencySet* set);

}  // namespace krserve::fake_metal
