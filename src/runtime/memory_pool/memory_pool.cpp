#include "runtime/memory_pool/memory_pool.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/log.h"
#include "base/units.h"

namespace krserve::runtime {

MemoryPool::MemoryPool(std::shared_ptr<Device> device, const MemoryPoolConfig& config,
                       MemoryLimit limit)
    : device_(std::move(device)), config_(config), limit_(limit) {
  if (config.heap_size_mb < 1 || config.num_heaps < 1) {
    throw_error<ConfigError>("memory_pool.create",
                             "heap_size_mb = {} and num_heaps = {}; both must be >= 1",
                             config.heap_size_mb, config.num_heaps);
  }
  heaps_.reserve(static_cast<size_t>(config.num_heaps));
  for (int64_t i = 0; i < config.num_heaps; ++i) {
    add_heap(static_cast<uint64_t>(config.heap_size_mb) * kMiB);
  }
  warm_up(config.warmup_sizes);
}

MemoryPool::~MemoryPool() {
  collect(true);
  const std::string live = ledger_.describe_live();
  if (!live.empty()) log().warn("[memory_pool.destroy] still allocated at shutdown: {}", live);
}

void MemoryPool::add_heap(uint64_t bytes) {
  try {
    limit_.check(*device_, bytes);
    auto heap = device_->new_heap(bytes, Storage::kShared);
    const uint64_t granularity = std::max<uint64_t>(64, device_->info().alignment_bytes);
    heaps_.push_back({std::move(heap), Tlsf(bytes, granularity)});
    ++device_allocations_;
  } catch (const OutOfMemoryError& error) {
    throw_error<OutOfMemoryError>(
        "memory_pool.create",
        "MetalMemoryPool: Failed to create MTLHeap (out of memory): heap {} of {}, {} each: {}; "
        "lower heap_size_mb or num_heaps",
        heaps_.size() + 1, config_.num_heaps, format_bytes(bytes), error.what());
  }
}

// Touches each size once, so that its first real use meets no page fault.
void MemoryPool::warm_up(const std::vector<int64_t>& sizes_mb) {
  for (const int64_t size_mb : sizes_mb) {
    if (size_mb < 1 || size_mb > config_.heap_size_mb) {
      log().warn(
          "[memory_pool.warmup] {} MB skipped: larger than a heap ({} MB); raise heap_size_mb or "
          "drop it from warmup_sizes",
          size_mb, config_.heap_size_mb);
      continue;
    }
    Allocation probe;
    if (!allocate_from_heaps(static_cast<uint64_t>(size_mb) * kMiB, probe)) continue;
    if (std::byte* data = probe.view().contents()) std::memset(data, 0, probe.view().bytes);
    heaps_[probe.heap_].blocks.free(probe.block_);
    probe.owner_ = nullptr;  // never entered the books
  }
}

bool MemoryPool::allocate_from_heaps(uint64_t bytes, Allocation& out) {
  for (uint32_t i = 0; i < heaps_.size(); ++i) {
    const auto block = heaps_[i].blocks.allocate(bytes);
    if (!block) continue;
    out.owner_ = this;
    out.heap_ = i;
    out.block_ = block->id;
    out.held_bytes_ = block->bytes;
    out.view_ = {&heaps_[i].heap->buffer(), block->offset, bytes};
    return true;
  }
  return false;
}

Allocation MemoryPool::allocate(uint64_t bytes, MemoryTag tag) {
  if (bytes == 0) throw OutOfMemoryError("memory_pool.allocate", "0 bytes were asked for");
  collect();
  Allocation result;
  result.tag_ = tag;
  {
    const std::lock_guard lock(mutex_);
    if (allocate_from_heaps(bytes, result)) {
      exhausted_ = false;
      enter(result);
      return result;
    }
    log_exhaustion(bytes);
  }
  std::unique_ptr<Buffer> buffer;
  {
    const std::lock_guard growth(growth_mutex_);
    limit_.check(*device_, bytes);
    buffer = device_->new_buffer(bytes, Storage::kShared);
  }
  result.buffer_ = std::move(buffer);
  result.owner_ = this;
  result.view_ = {result.buffer_.get(), 0, bytes};
  result.held_bytes_ = bytes;
  const std::lock_guard lock(mutex_);
  ++device_allocations_;
  ++fallback_allocations_;
  ++on_demand_objects_;
  on_demand_bytes_ += bytes;
  enter(result);
  return result;
}

void MemoryPool::enter(const Allocation& allocation) {
  ++total_allocations_;
  largest_bytes_ = std::max(largest_bytes_, allocation.view_.bytes);
  ledger_.add(allocation.tag_, allocation.held_bytes_);
}

void MemoryPool::log_exhaustion(uint64_t bytes) {
  if (exhausted_) return;
  exhausted_ = true;
  ++exhaustions_;
  if (!config_.log_exhaustion) return;
  log().warn(
      "[memory_pool.allocate] MetalMemoryPool exhausted, falling back to on-demand allocation: {} "
      "asked, {} free, largest free block {}, {} heaps of {} MB",
      format_bytes(bytes), format_bytes(free_bytes()), format_bytes(largest_free_bytes()),
      heaps_.size(), config_.heap_size_mb);
}

void MemoryPool::release(Allocation& allocation) noexcept {
  const std::lock_guard lock(mutex_);
  ledger_.remove(allocation.tag_, allocation.held_bytes_);
  if (!allocation.buffer_) {
    heaps_[allocation.heap_].blocks.free(allocation.block_);
    return;
  }
  --on_demand_objects_;
  on_demand_bytes_ -= allocation.held_bytes_;
}

uint64_t MemoryPool::free_bytes() const {
  uint64_t sum = 0;
  for (const PoolHeap& heap : heaps_) sum += heap.blocks.free_bytes();
  return sum;
}

uint64_t MemoryPool::largest_free_bytes() const {
  uint64_t largest = 0;
  for (const PoolHeap& heap : heaps_) largest = std::max(largest, heap.blocks.largest_free_bytes());
  return largest;
}

PoolStatistics MemoryPool::statistics() const {
  const std::lock_guard lock(mutex_);
  PoolStatistics out;
  out.enabled = true;
  out.total_heaps = static_cast<uint32_t>(heaps_.size());
  for (const PoolHeap& heap : heaps_) {
    out.heap_bytes += heap.blocks.size_bytes();
    out.active_heaps += heap.blocks.live_blocks() > 0 ? 1 : 0;
  }
  const auto total = static_cast<double>(total_allocations_);
  const uint64_t free = free_bytes();
  out.total_allocations = total_allocations_;
  out.fallback_allocations = fallback_allocations_;
  out.hit_rate =
      total_allocations_ ? (total - static_cast<double>(fallback_allocations_)) / total : 0;
  out.utilization = out.heap_bytes ? static_cast<double>(out.heap_bytes - free) /
                                         static_cast<double>(out.heap_bytes)
                                   : 0;
  out.largest_allocation_mb = static_cast<double>(largest_bytes_) / static_cast<double>(kMiB);
  out.exhaustion_count = exhaustions_;
  out.device_allocations = device_allocations_;
  out.largest_free_block_bytes = largest_free_bytes();
  out.fragmentation =
      free ? 1.0 - static_cast<double>(out.largest_free_block_bytes) / static_cast<double>(free)
           : 0;
  ledger_.write(out);
  return out;
}

void MemoryPool::reset_statistics() {
  const std::lock_guard lock(mutex_);
  total_allocations_ = fallback_allocations_ = largest_bytes_ = exhaustions_ = 0;
  ledger_.restart_peaks();
}

bool MemoryPool::check_integrity() const {
  const std::lock_guard lock(mutex_);
  PoolStatistics books;
  ledger_.write(books);
  uint64_t objects = on_demand_objects_;
  uint64_t bytes = on_demand_bytes_;
  for (const PoolHeap& heap : heaps_) {
    if (!heap.blocks.check_integrity()) return false;
    objects += heap.blocks.live_blocks();
    bytes += heap.blocks.size_bytes() - heap.blocks.free_bytes();
  }
  return ledger_.balanced() && objects == books.live_objects && bytes == books.live_bytes;
}

}  // namespace krserve::runtime
