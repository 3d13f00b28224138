#include "runtime/memory_pool/heap_set.h"

#include <algorithm>

#include "base/units.h"

namespace krserve::runtime {

void HeapSet::add(std::unique_ptr<Heap> heap, bool grown) {
  Tlsf blocks(heap->size_bytes(), granularity_);
  const uint64_t bytes = blocks.size_bytes();
  auto entry = std::make_unique<Entry>(Entry{std::move(heap), std::move(blocks), grown});
  const auto hole = std::find(heaps_.begin(), heaps_.end(), nullptr);
  if (hole != heaps_.end()) {
    *hole = std::move(entry);
  } else {
    heaps_.push_back(std::move(entry));
  }
  bytes_ += bytes;
}

std::vector<std::unique_ptr<Heap>> HeapSet::take_empty_grown() {
  std::vector<std::unique_ptr<Heap>> out;
  for (auto& entry : heaps_) {
    if (!entry || !entry->grown || entry->blocks.live_blocks() > 0) continue;
    bytes_ -= entry->blocks.size_bytes();
    out.push_back(std::move(entry->heap));
    entry.reset();
  }
  while (!heaps_.empty() && !heaps_.back()) heaps_.pop_back();
  return out;
}

HeapBlock HeapSet::block_of(uint32_t index, const Tlsf::Block& block) const {
  return {&heaps_[index]->heap->buffer(), block.offset, block.bytes, index, block.id};
}

bool HeapSet::allocate(uint64_t bytes, HeapBlock& out) {
  const uint64_t rounded = align_up(bytes, granularity_);
  for (SetAside& aside : set_aside_) {
    if (!aside.waits || aside.block.bytes != rounded) continue;
    aside.waits = false;
    out = aside.block;
    return true;
  }
  const std::optional<uint32_t> heap = fullest_with_room(bytes);
  if (!heap) return false;
  out = block_of(*heap, heaps_[*heap]->blocks.allocate(bytes).value());
  return true;
}

std::optional<uint32_t> HeapSet::fullest_with_room(uint64_t bytes) const {
  std::optional<uint32_t> best;
  const auto rank = [&](uint32_t i) {
    return std::pair(heaps_[i]->grown, heaps_[i]->blocks.free_bytes());
  };
  for (uint32_t i = 0; i < heaps_.size(); ++i) {
    if (!heaps_[i] || (best && rank(*best) <= rank(i))) continue;
    if (heaps_[i]->blocks.fits(bytes)) best = i;
  }
  return best;
}

uint32_t HeapSet::allocate_run(uint64_t bytes, uint32_t count, HeapBlock* out) {
  constexpr uint32_t kMost = 32;
  Tlsf::Block blocks[kMost];
  for (uint32_t i = 0; i < heaps_.size(); ++i) {
    if (!heaps_[i]) continue;
    const uint32_t taken = heaps_[i]->blocks.allocate_run(bytes, std::min(count, kMost), blocks);
    for (uint32_t n = 0; n < taken; ++n) out[n] = block_of(i, blocks[n]);
    if (taken > 0) return taken;
  }
  return 0;
}

bool HeapSet::keep_set_aside(const HeapBlock& block) {
  for (SetAside& aside : set_aside_) {
    if (aside.block.block != block.block || aside.block.heap != block.heap) continue;
    return aside.waits = true;
  }
  return false;
}

void HeapSet::free(std::span<const HeapBlock> blocks) {
  // Their nodes, and their neighbours', are most likely not in the processor's caches: all are
  // asked for before the first is needed.
  if (blocks.size() > 1) {
    for (const HeapBlock& block : blocks) heaps_[block.heap]->blocks.prefetch(block.block);
    for (const HeapBlock& block : blocks) {
      heaps_[block.heap]->blocks.prefetch_neighbours(block.block);
    }
  }
  for (const HeapBlock& block : blocks) {
    if (!keep_set_aside(block)) heaps_[block.heap]->blocks.free(block.block);
  }
}

std::optional<HeapBlock> HeapSet::set_aside(uint64_t bytes) {
  const std::optional<uint32_t> heap = fullest_with_room(bytes);
  if (!heap) return std::nullopt;
  set_aside_.push_back({block_of(*heap, heaps_[*heap]->blocks.allocate(bytes).value()), true});
  return set_aside_.back().block;
}

void HeapSet::merge_set_aside() {
  for (const SetAside& aside : set_aside_) {
    if (aside.waits) heaps_[aside.block.heap]->blocks.free(aside.block.block);
  }
  set_aside_.clear();
}

uint32_t HeapSet::heaps() const {
  return static_cast<uint32_t>(heaps_.size()) -
         static_cast<uint32_t>(std::count(heaps_.begin(), heaps_.end(), nullptr));
}

uint64_t HeapSet::taken_bytes() const {
  uint64_t sum = bytes_;
  for (const auto& entry : heaps_) sum -= entry ? entry->blocks.free_bytes() : 0;
  for (const SetAside& aside : set_aside_) sum -= aside.waits ? aside.block.bytes : 0;
  return sum;
}

uint64_t HeapSet::taken_blocks() const {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < heaps_.size(); ++i) sum += taken_blocks(i);
  return sum;
}

uint64_t HeapSet::taken_blocks(uint32_t index) const {
  if (!heaps_[index]) return 0;
  return heaps_[index]->blocks.live_blocks() -
         static_cast<uint64_t>(std::count_if(
             set_aside_.begin(), set_aside_.end(),
             [&](const SetAside& aside) { return aside.waits && aside.block.heap == index; }));
}

uint64_t HeapSet::largest_free_bytes(uint32_t index) const {
  uint64_t largest = heaps_[index] ? heaps_[index]->blocks.largest_free_bytes() : 0;
  for (const SetAside& aside : set_aside_) {
    if (aside.waits && aside.block.heap == index) largest = std::max(largest, aside.block.bytes);
  }
  return largest;
}

uint64_t HeapSet::largest_free_bytes() const {
  uint64_t largest = 0;
  for (uint32_t i = 0; i < heaps_.size(); ++i) largest = std::max(largest, largest_free_bytes(i));
  return largest;
}

bool HeapSet::is_taken(const HeapBlock& block) const {
  return block.heap < heaps_.size() && heaps_[block.heap] &&
         heaps_[block.heap]->blocks.is_live(block.block, block.bytes);
}

bool HeapSet::check_integrity() const {
  uint64_t bytes = 0;
  for (const auto& entry : heaps_) {
    if (!entry) continue;
    if (!entry->blocks.check_integrity()) return false;
    bytes += entry->blocks.size_bytes();
  }
  return bytes == bytes_ && std::all_of(set_aside_.begin(), set_aside_.end(),
                                        [&](const SetAside& a) { return is_taken(a.block); });
}

}  // namespace krserve::runtime
