// Allocators that wrap an allocator: each adds one thing and passes the rest on, so they stack.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "runtime/memory_pool/allocator.h"

namespace krserve::runtime {

// Owns what it wraps. Statistics, integrity and trimming are the wrapped allocator's unless said
// otherwise.
class AllocatorAdaptor : public Allocator {
 public:
  Allocation allocate(uint64_t bytes, MemoryTag tag) override;
  uint64_t trim() override;
  PoolStatistics statistics() const override { return inner_->statistics(); }
  void reset_statistics() override { inner_->reset_statistics(); }
  bool check_integrity() const override { return inner_->check_integrity(); }

  Allocator& inner() { return *inner_; }

 protected:
  explicit AllocatorAdaptor(std::unique_ptr<Allocator> inner) : inner_(std::move(inner)) {}

  // What the adaptor adds. before() may refuse by throwing; refused() follows it when the wrapped
  // allocator refuses; freed() comes before the memory is given back.
  virtual void before(uint64_t bytes, MemoryTag tag) { (void)bytes, (void)tag; }
  virtual void allocated(const Allocation& allocation) { (void)allocation; }
  virtual void refused(uint64_t bytes) noexcept { (void)bytes; }
  virtual void freed(const Allocation& allocation) noexcept = 0;
  void collected(bool all) override { inner_->collect(all); }

 private:
  void release(Allocation& allocation) noexcept override;

  std::unique_ptr<Allocator> inner_;
};

// Refuses what would take the bytes that went through it past a limit.
class LimitingAllocator final : public AllocatorAdaptor {
 public:
  LimitingAllocator(std::unique_ptr<Allocator> inner, uint64_t limit_bytes)
      : AllocatorAdaptor(std::move(inner)), limit_bytes_(limit_bytes) {}
  ~LimitingAllocator() override { collect(true); }

  uint64_t used_bytes() const;

 private:
  void before(uint64_t bytes, MemoryTag tag) override;
  void refused(uint64_t bytes) noexcept override;
  void freed(const Allocation& allocation) noexcept override;

  const uint64_t limit_bytes_;
  mutable std::mutex mutex_;
  uint64_t used_bytes_ = 0;
};

// Counts by tag what went through it, in bytes asked for: one consumer's share of an allocator.
class CountingAllocator final : public AllocatorAdaptor {
 public:
  explicit CountingAllocator(std::unique_ptr<Allocator> inner)
      : AllocatorAdaptor(std::move(inner)) {}
  ~CountingAllocator() override { collect(true); }

  // The wrapped allocator's, with live, peak, objects, tags and total_allocations as counted here.
  PoolStatistics statistics() const override;
  void reset_statistics() override;
  bool check_integrity() const override;

 private:
  void allocated(const Allocation& allocation) override;
  void freed(const Allocation& allocation) noexcept override;

  mutable std::mutex mutex_;
  MemoryLedger ledger_;
  uint64_t allocations_ = 0;
};

}  // namespace krserve::runtime
