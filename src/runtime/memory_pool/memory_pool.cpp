#include "runtime/memory_pool/memory_pool.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/cpu_pause.h"
#include "base/error.h"
#include "base/log.h"
#include "base/units.h"
#include "runtime/memory_pool/small_cache.h"

namespace krserve::runtime {
namespace {

// Of the pool's bytes, each shard may keep one part in so many.
constexpr uint64_t kBudgetFraction = 128;
constexpr uint64_t kMostBudgetBytes = 8 * kMiB;
constexpr int kSpins = 400;

// Spins first: the locks are held for tens of nanoseconds, and going to sleep costs thousands.
std::unique_lock<std::mutex> lock_soon(std::mutex& mutex) {
  for (int i = 0; i < kSpins; ++i) {
    if (mutex.try_lock()) return {mutex, std::adopt_lock};
    cpu_pause();
  }
  return std::unique_lock(mutex);
}

// Threads are dealt to shards in turn, so that two of them meet only when there are many.
uint32_t thread_number() {
  static std::atomic<uint32_t> next{0};
  thread_local const uint32_t mine = next.fetch_add(1, std::memory_order_relaxed);
  return mine;
}

}  // namespace

MemoryPool::MemoryPool(std::shared_ptr<Device> device, const MemoryPoolConfig& config,
                       MemoryLimit limit)
    : device_(std::move(device)),
      config_(config),
      limit_(limit),
      shards_(std::make_unique<SmallCache[]>(kShards)),
      heaps_(std::max<uint64_t>(64, device_->info().alignment_bytes)),
      books_(counts_) {
  for (uint32_t i = 0; i < kShards; ++i) counts_[i] = &shards_[i].counts;
  if (config.heap_size_mb < 1 || config.num_heaps < 1) {
    throw_error<ConfigError>("memory_pool.create",
                             "heap_size_mb = {} and num_heaps = {}; both must be >= 1",
                             config.heap_size_mb, config.num_heaps);
  }
  make_heaps();
  shard_budget_bytes_ = std::min(heaps_.bytes() / kBudgetFraction, kMostBudgetBytes);
  // A class is worth a cache if some of its blocks fit.
  cached_bytes_ = std::min(kCachedGranules * heaps_.granularity(), shard_budget_bytes_ / 4);
  warm_up(config.warmup_sizes);
}

MemoryPool::~MemoryPool() {
  collect(true);
  const std::string live = describe_live(statistics().tags);
  if (!live.empty()) log().warn("[memory_pool.destroy] still allocated at shutdown: {}", live);
}

uint64_t MemoryPool::heap_bytes() const {
  return static_cast<uint64_t>(config_.heap_size_mb) * kMiB;
}

void MemoryPool::make_heaps() {
  const uint64_t bytes = heap_bytes();
  for (int64_t i = 1; i <= config_.num_heaps; ++i) {
    try {
      add_heap(bytes, false);
    } catch (const OutOfMemoryError& error) {
      throw_error<OutOfMemoryError>(
          "memory_pool.create",
          "MetalMemoryPool: Failed to create MTLHeap (out of memory): heap {} of {}, {} each: {}; "
          "lower heap_size_mb or num_heaps",
          i, config_.num_heaps, format_bytes(bytes), error.what());
    }
  }
}

void MemoryPool::add_heap(uint64_t bytes, bool grown) {
  limit_.check(*device_, bytes);
  auto heap = device_->new_heap(bytes, Storage::kShared);
  const std::lock_guard lock(mutex_);
  heaps_.add(std::move(heap), grown);
  ++books_.device_allocations;
  books_.heaps_grown += grown ? 1 : 0;
}

// Cuts a block of each size and touches it, so that its first real use meets neither a split nor a
// page fault. All at the same time: no two sizes share memory.
void MemoryPool::warm_up(const std::vector<int64_t>& sizes_mb) {
  for (const int64_t size_mb : sizes_mb) {
    if (size_mb < 1 || size_mb > config_.heap_size_mb) {
      log().warn(
          "[memory_pool.warmup] {} MB skipped: larger than a heap ({} MB); raise heap_size_mb or "
          "drop it from warmup_sizes",
          size_mb, config_.heap_size_mb);
      continue;
    }
    const uint64_t bytes = static_cast<uint64_t>(size_mb) * kMiB;
    const auto block = heaps_.set_aside(bytes);
    if (!block) {
      log().warn(
          "[memory_pool.warmup] {} MB skipped: no heap has so much left beside the sizes before "
          "it; raise num_heaps or drop it from warmup_sizes",
          size_mb);
      continue;
    }
    const BufferView view{block->buffer, block->offset, block->bytes};
    if (std::byte* data = view.contents()) std::memset(data, 0, view.bytes);
  }
}

Allocation MemoryPool::allocate(uint64_t bytes, MemoryTag tag) {
  if (bytes == 0) throw OutOfMemoryError("memory_pool.allocate", "0 bytes were asked for");
  free_due();
  Allocation result;
  result.tag_ = tag;
  result.shard_ = thread_number() % kShards;
  if (bytes <= cached_bytes_ && allocate_cached(bytes, result)) return result;
  if (allocate_from_heaps(bytes, result)) return result;
  if (bytes <= heap_bytes()) {
    merge_free();
    merge_set_aside();
    if (allocate_from_heaps(bytes, result) || allocate_grown(bytes, result)) return result;
  }
  allocate_on_demand(bytes, result);
  return result;
}

void MemoryPool::hand_out(SmallCache& shard, const HeapBlock& block, uint64_t bytes,
                          Allocation& out) {
  out.owner_ = this;
  out.heap_ = block.heap;
  out.block_ = block.block;
  out.held_bytes_ = block.bytes;
  out.view_ = {block.buffer, block.offset, bytes};
  shard.counts.add(out.tag_, block.bytes, bytes, config_.track_statistics);
}

bool MemoryPool::allocate_cached(uint64_t bytes, Allocation& out) {
  const uint32_t size_class = size_class_of(ceil_div(bytes, heaps_.granularity()));
  SmallCache& shard = shards_[out.shard_];
  const auto lock = lock_soon(shard.mutex);
  if (shard.stacks[size_class].count == 0 && !refill(shard, size_class)) return false;
  out.cached_ = true;
  hand_out(shard, shard.pop(size_class), bytes, out);
  return true;
}

bool MemoryPool::refill(SmallCache& shard, uint32_t size_class) {
  const uint64_t bytes = granules_of_class(size_class) * heaps_.granularity();
  const uint64_t room = shard_budget_bytes_ - std::min(shard_budget_bytes_, shard.bytes);
  const auto count = static_cast<uint32_t>(
      std::clamp<uint64_t>(room / 2 / bytes, 1, SmallCache::batch_for(bytes)));
  HeapBlock blocks[SmallCache::kBatch];
  const auto lock = lock_soon(mutex_);
  const uint32_t taken = heaps_.allocate_run(bytes, count, blocks);
  // The lowest offset on top.
  for (uint32_t i = taken; i > 0; --i) shard.push(size_class, blocks[i - 1]);
  if (taken > 0 && bytes >= burst_bytes_) burst_bytes_ = 0;
  return taken > 0;
}

bool MemoryPool::allocate_from_heaps(uint64_t bytes, Allocation& out) {
  SmallCache& shard = shards_[out.shard_];
  const auto counts_lock = lock_soon(shard.mutex);
  HeapBlock block;
  {
    const auto lock = lock_soon(mutex_);
    if (!heaps_.allocate(bytes, block)) return false;
    if (bytes >= burst_bytes_) burst_bytes_ = 0;
  }
  hand_out(shard, block, bytes, out);
  return true;
}

bool MemoryPool::allocate_grown(uint64_t bytes, Allocation& out) {
  if (!config_.allow_growth) return false;
  const std::lock_guard growth(growth_mutex_);
  if (allocate_from_heaps(bytes, out)) return true;  // another thread has grown it
  try {
    add_heap(heap_bytes(), true);
  } catch (const OutOfMemoryError& error) {
    log().debug("[memory_pool.grow] no further heap: {}", error.what());
    return false;
  }
  return allocate_from_heaps(bytes, out);
}

void MemoryPool::allocate_on_demand(uint64_t bytes, Allocation& out) {
  note_exhaustion(bytes);
  {
    const std::lock_guard growth(growth_mutex_);
    limit_.check(*device_, bytes);
    out.buffer_ = device_->new_buffer(bytes, Storage::kShared);
  }
  out.owner_ = this;
  out.view_ = {out.buffer_.get(), 0, bytes};
  out.held_bytes_ = bytes;
  SmallCache& shard = shards_[out.shard_];
  const auto counts_lock = lock_soon(shard.mutex);
  shard.counts.add(out.tag_, bytes, bytes, config_.track_statistics);
  const auto lock = lock_soon(mutex_);
  ++books_.device_allocations;
  ++books_.on_demand_objects;
  books_.fallbacks += config_.track_statistics ? 1 : 0;
  books_.on_demand_bytes += bytes;
}

void MemoryPool::note_exhaustion(uint64_t bytes) {
  uint64_t free = 0;
  uint64_t largest = 0;
  uint32_t heaps = 0;
  {
    const auto lock = lock_soon(mutex_);
    const bool inside = burst_bytes_ > 0;
    burst_bytes_ = inside ? std::min(burst_bytes_, bytes) : bytes;
    if (inside) return;
    books_.exhaustions += config_.track_statistics ? 1 : 0;
    if (!config_.log_exhaustion) return;
    free = heaps_.bytes() - heaps_.taken_bytes();
    largest = heaps_.largest_free_bytes();
    heaps = heaps_.heaps();
  }
  log().warn(
      "[memory_pool.allocate] MetalMemoryPool exhausted, falling back to on-demand allocation: {} "
      "asked, {} free, largest free block {}, {} heaps of {} MB",
      format_bytes(bytes), format_bytes(free), format_bytes(largest), heaps, config_.heap_size_mb);
}

void MemoryPool::release(Allocation& allocation) noexcept {
  const HeapBlock block{allocation.view_.buffer, allocation.view_.offset, allocation.held_bytes_,
                        allocation.heap_, allocation.block_};
  SmallCache& shard = shards_[allocation.shard_];
  const auto counts_lock = lock_soon(shard.mutex);
  shard.counts.remove(allocation.tag_, block.bytes);
  if (allocation.cached_) {
    put_back(shard, size_class_of(block.bytes / heaps_.granularity()), block);
    return;
  }
  const auto lock = lock_soon(mutex_);
  if (!allocation.buffer_) {
    heaps_.free({&block, 1});
    return;
  }
  --books_.on_demand_objects;
  books_.on_demand_bytes -= block.bytes;
}

void MemoryPool::put_back(SmallCache& shard, uint32_t size_class, const HeapBlock& block) {
  if (shard.stacks[size_class].count >= SmallCache::depth_for(block.bytes)) {
    flush(shard, size_class, SmallCache::batch_for(block.bytes));
  }
  shard.push(size_class, block);
  while (shard.bytes > shard_budget_bytes_) flush(shard, shard.next_victim(), SmallCache::kBatch);
}

void MemoryPool::flush(SmallCache& shard, uint32_t size_class, uint32_t most) {
  HeapBlock blocks[SmallCache::kDepth];
  const uint32_t taken = shard.take_oldest(size_class, most, blocks);
  const auto lock = lock_soon(mutex_);
  heaps_.free({blocks, taken});
}

void MemoryPool::merge_free() {
  free_due();
  for (uint32_t i = 0; i < kShards; ++i) {
    SmallCache& shard = shards_[i];
    const auto lock = lock_soon(shard.mutex);
    for (uint32_t size_class = 0; size_class < kSizeClasses && shard.bytes > 0; ++size_class) {
      if (shard.stacks[size_class].count > 0) flush(shard, size_class, SmallCache::kDepth);
    }
  }
}

void MemoryPool::merge_set_aside() {
  const auto lock = lock_soon(mutex_);
  heaps_.merge_set_aside();
}

void MemoryPool::collected(bool all) {
  if (all) merge_free();
}

uint64_t MemoryPool::trim() {
  merge_free();
  std::vector<std::unique_ptr<Heap>> empty;  // given back here, outside the lock
  const auto lock = lock_soon(mutex_);
  const uint64_t before = heaps_.bytes();
  empty = heaps_.take_empty_grown();
  books_.heaps_trimmed += empty.size();
  return before - heaps_.bytes();
}

}  // namespace krserve::runtime
