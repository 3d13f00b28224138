#include "runtime/memory_pool/adaptors.h"

#include "base/error.h"
#include "base/units.h"

namespace krserve::runtime {

Allocation AllocatorAdaptor::allocate(uint64_t bytes, MemoryTag tag) {
  free_due();
  before(bytes, tag);
  Allocation result;
  try {
    result = inner_->allocate(bytes, tag);
  } catch (...) {
    refused(bytes);
    throw;
  }
  result.owner_ = this;
  allocated(result);
  return result;
}

void AllocatorAdaptor::release(Allocation& allocation) noexcept {
  freed(allocation);
  inner_->release(allocation);
}

uint64_t AllocatorAdaptor::trim() {
  collect();
  return inner_->trim();
}

void LimitingAllocator::before(uint64_t bytes, MemoryTag tag) {
  const std::lock_guard lock(mutex_);
  if (bytes > limit_bytes_ - used_bytes_) {
    throw_error<OutOfMemoryError>(
        "limiting_allocator.allocate", "{} for {} refused: {} of {} in use; free some or raise it",
        format_bytes(bytes), to_string(tag), format_bytes(used_bytes_), format_bytes(limit_bytes_));
  }
  used_bytes_ += bytes;
}

void LimitingAllocator::refused(uint64_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  used_bytes_ -= bytes;
}

void LimitingAllocator::freed(const Allocation& allocation) noexcept {
  refused(allocation.view().bytes);
}

uint64_t LimitingAllocator::used_bytes() const {
  const std::lock_guard lock(mutex_);
  return used_bytes_;
}

void CountingAllocator::allocated(const Allocation& allocation) {
  const std::lock_guard lock(mutex_);
  ledger_.add(allocation.tag(), allocation.view().bytes);
  ++allocations_;
}

void CountingAllocator::freed(const Allocation& allocation) noexcept {
  const std::lock_guard lock(mutex_);
  ledger_.remove(allocation.tag(), allocation.view().bytes);
}

PoolStatistics CountingAllocator::statistics() const {
  PoolStatistics out = AllocatorAdaptor::statistics();
  const std::lock_guard lock(mutex_);
  ledger_.write(out);
  out.total_allocations = allocations_;
  return out;
}

void CountingAllocator::reset_statistics() {
  AllocatorAdaptor::reset_statistics();
  const std::lock_guard lock(mutex_);
  ledger_.restart_peaks();
  allocations_ = 0;
}

bool CountingAllocator::check_integrity() const {
  if (!AllocatorAdaptor::check_integrity()) return false;
  const std::lock_guard lock(mutex_);
  return ledger_.balanced();
}

}  // namespace krserve::runtime
