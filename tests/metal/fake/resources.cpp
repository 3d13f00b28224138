#include "metal/fake/resources.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace krserve::fake_metal {
namespace {

using metal::MTLHazardTrackingMode;
using metal::MTLStorageMode;

// Of this machine, as the back end asks for it; 16 KiB on a Mac.
const uint64_t kPageBytes = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
constexpr int kPoison = 0xa5;                            // new memory holds what it held before
constexpr uint64_t kPoisonedBytes = uint64_t{32} << 20;  // the rest stays untouched, not in RAM

std::map<uint64_t, Buffer*>& addresses() {
  static auto* const map = new std::map<uint64_t, Buffer*>;
  return *map;
}

MTLStorageMode storage_of(MTLResourceOptions options) {
  return static_cast<MTLStorageMode>(static_cast<NSUInteger>(options) >> 4 & 0xf);
}

bool is_untracked(MTLResourceOptions options) {
  return static_cast<MTLHazardTrackingMode>(static_cast<NSUInteger>(options) >> 8 & 0x3) ==
         MTLHazardTrackingMode::kUntracked;
}

bool is_good(MTLStorageMode storage, NSUInteger bytes) {
  if (storage != MTLStorageMode::kShared && storage != MTLStorageMode::kPrivate) {
    violate(Rule::kBadStorage, "buffers here are shared or private");
    return false;
  }
  if (bytes == 0) violate(Rule::kEmptyAllocation, "0 bytes");
  return bytes != 0;
}

std::shared_ptr<Memory> make_memory(uint64_t bytes, bool tracked) {
  auto memory = std::make_shared<Memory>();
  memory->storage = std::make_unique_for_overwrite<std::byte[]>(bytes + kPageBytes);
  const auto address = reinterpret_cast<uintptr_t>(memory->storage.get());
  memory->bytes = memory->storage.get() + (kPageBytes - address % kPageBytes) % kPageBytes;
  memory->size = bytes;
  memory->tracked = tracked;
  std::memset(memory->bytes, kPoison, std::min(bytes, kPoisonedBytes));
  return memory;
}

}  // namespace

Heap* Heap::make(const HeapDescriptor& descriptor) {
  if (!is_good(descriptor.storage, descriptor.size)) return nullptr;
  if (!Gpu::get().take_memory(descriptor.size)) return nullptr;
  auto* const heap = new Heap;
  heap->memory_ =
      make_memory(descriptor.size, descriptor.hazards == MTLHazardTrackingMode::kTracked);
  heap->storage_ = descriptor.storage;
  heap->type_ = descriptor.type;
  return heap;
}

Buffer* Heap::new_buffer(NSUInteger length, MTLResourceOptions options, NSUInteger offset) {
  if (type_ != metal::MTLHeapType::kPlacement) return nullptr;
  if (!is_good(storage_of(options), length)) return nullptr;
  const uint64_t align = Gpu::get().heap_alignment(length);
  const uint64_t bytes = (length + align - 1) / align * align;
  const auto refuse = [&](Rule rule, const std::string& text) {
    violate(rule, std::to_string(bytes) + " bytes at " + std::to_string(offset) + text);
    return nullptr;
  };
  if (storage_of(options) != storage_) return refuse(Rule::kHeapStorage, ": not the heap's mode");
  if (offset % align) {
    return refuse(Rule::kHeapAlignment, ": not a multiple of " + std::to_string(align));
  }
  if (offset > memory_->size || bytes > memory_->size - offset) {
    return refuse(Rule::kHeapOverflow, " of " + std::to_string(memory_->size));
  }
  for (const Block& block : blocks_) {
    if (offset < block.end && block.begin < offset + bytes) {
      return refuse(Rule::kHeapOverlap, ": a live buffer lies there");
    }
  }
  auto* const buffer = new Buffer(memory_, offset, length, storage_, this);
  blocks_.push_back({buffer, offset, offset + bytes});
  return buffer;
}

void Heap::forget(const Buffer* buffer) {
  std::erase_if(blocks_, [buffer](const Block& block) { return block.buffer == buffer; });
}

Buffer::Buffer(std::shared_ptr<Memory> memory, uint64_t offset, NSUInteger length,
               MTLStorageMode storage, Heap* heap)
    : memory_(std::move(memory)),
      offset_(offset),
      length_(length),
      address_(Gpu::get().next_address(length)),
      storage_(storage),
      heap_(heap) {
  addresses()[address_] = this;
}

Buffer* Buffer::make(NSUInteger length, MTLResourceOptions options) {
  if (!is_good(storage_of(options), length)) return nullptr;
  if (!Gpu::get().take_memory(length)) return nullptr;
  auto* const buffer = new Buffer(make_memory(length, !is_untracked(options)), 0, length,
                                  storage_of(options), nullptr);
  buffer->owned_bytes_ = length;
  return buffer;
}

Buffer* Buffer::make_no_copy(void* pages, NSUInteger length, MTLResourceOptions options,
                             const RawBlock* deallocator) {
  if (!is_good(storage_of(options), length)) return nullptr;
  if (storage_of(options) != MTLStorageMode::kShared) {
    violate(Rule::kBadStorage, "a buffer over host pages is shared");
    return nullptr;
  }
  if (reinterpret_cast<uintptr_t>(pages) % kPageBytes || length % kPageBytes) {
    violate(Rule::kNoCopyAlignment, "address and length are multiples of a page");
    return nullptr;
  }
  auto memory = std::make_shared<Memory>();
  memory->bytes = static_cast<std::byte*>(pages);
  memory->size = length;
  memory->tracked = !is_untracked(options);
  auto* const buffer = new Buffer(std::move(memory), 0, length, MTLStorageMode::kShared, nullptr);
  buffer->deallocator_ = keep_block(deallocator);
  return buffer;
}

Buffer* Buffer::at(uint64_t address) {
  auto it = addresses().upper_bound(address);
  if (it == addresses().begin()) return nullptr;
  --it;
  return address - it->first < it->second->length_ ? it->second : nullptr;
}

void* Buffer::contents() {
  return storage_ == MTLStorageMode::kPrivate ? nullptr : bytes();
}

void Buffer::end() {
  if (!Gpu::is_gpu_thread() && !Gpu::get().host_clock.covers(last_use)) {
    violate(Rule::kReleasedInFlight, "a buffer of " + std::to_string(length_) +
                                         " bytes, used by work not known to have ended");
  }
  addresses().erase(address_);
  if (heap_) heap_->forget(this);
  Gpu::get().give_memory(owned_bytes_);
  if (deallocator_) call_block(*deallocator_, static_cast<void*>(bytes()), length_);
}

void Event::signal(uint64_t value, const Clock& ended) {
  if (value <= value_) {
    violate(Rule::kEventNotMonotonic, std::to_string(value) + " after " + std::to_string(value_));
    return;
  }
  value_ = value;
  // Whoever has waited for this value has waited for those before it.
  Clock all = ended;
  if (!signals_.empty()) all.merge(signals_.back().ended);
  signals_.push_back({value, all});
  Runtime::get().changed.notify_all();
}

// Older signals are within the newer: the host's clock has them.
void Event::observe() {
  Clock& host = Gpu::get().host_clock;
  for (const Signal& one : signals_) host.merge(one.ended);
  if (signals_.size() > 1) signals_.erase(signals_.begin(), signals_.end() - 1);
}

bool Event::wait_until(uint64_t value, uint64_t timeout_ms) {
  const Ref<Event> keep(this);
  std::unique_lock lock(Runtime::get().mutex, std::adopt_lock);
  const bool reached = Runtime::get().changed.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                                                       [this, value] { return is_reached(value); });
  lock.release();  // the message's caller holds it
  if (reached) observe();
  return reached;
}

Clock Event::clock_at(uint64_t value) const {
  Clock clock;
  for (const Signal& one : signals_) {
    clock.merge(one.ended);
    if (one.value >= value) break;
  }
  return clock;
}

void ResidencySet::add(Allocation* allocation) {
  pending_.emplace_back(allocation);
}

void ResidencySet::remove(Allocation* allocation) {
  std::erase_if(pending_, [allocation](const auto& one) { return one.get() == allocation; });
}

void ResidencySet::commit() {
  committed_ = pending_;
}

// A heap's residency is that of its buffers.
bool ResidencySet::holds(const Use& use) const {
  if (!Runtime::get().lives(use.buffer)) return true;  // told of when it was released
  return std::any_of(committed_.begin(), committed_.end(), [&use](const auto& one) {
    return one.get() == use.buffer || one.get() == use.buffer->heap();
  });
}

void add_residency_set(ResidencySets& sets, ResidencySet* set) {
  if (sets.size() >= metal::kMaxResidencySets) {
    violate(Rule::kTooManyResidencySets, "more than 32");
    return;
  }
  sets.emplace_back(set);
}

}  // namespace krserve::fake_metal
