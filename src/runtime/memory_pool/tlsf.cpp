#include "runtime/memory_pool/tlsf.h"

#include <algorithm>
#include <bit>
#include <cassert>

namespace krserve::runtime {

Tlsf::Tlsf(uint64_t size_bytes, uint64_t granularity)
    : size_bytes_(size_bytes),
      granularity_log2_(static_cast<uint32_t>(std::countr_zero(granularity))) {
  assert(std::has_single_bit(granularity) && size_bytes >= granularity);
  for (auto& row : heads_) row.fill(kNone);
  // Room for blocks of 4 KiB on average, so that growing rarely interrupts; untouched memory.
  reserve_nodes(std::clamp<uint64_t>(size_bytes / 4096, 64, uint64_t{1} << 18));
  const uint32_t id = new_node();
  nodes_[id].size = size_bytes >> granularity_log2_;
  size_bytes_ = uint64_t{nodes_[id].size} << granularity_log2_;
  insert_free(id);
}

Tlsf::Class Tlsf::class_of(uint64_t granules) {
  if (granules < kSecondLevels) return {0, static_cast<uint32_t>(granules)};
  const auto log2 = static_cast<uint32_t>(std::bit_width(granules) - 1);
  const auto second = static_cast<uint32_t>(granules >> (log2 - kSecondLevelLog2)) - kSecondLevels;
  return {log2 - kSecondLevelLog2 + 1, second};
}

Tlsf::Class Tlsf::class_to_search(uint64_t granules) {
  if (granules >= kSecondLevels) {
    const auto log2 = static_cast<uint32_t>(std::bit_width(granules) - 1);
    granules += (uint64_t{1} << (log2 - kSecondLevelLog2)) - 1;
  }
  return class_of(granules);
}

// A block of the same class that is large enough; kNone if none is among the first.
uint32_t Tlsf::walk_own_class(uint64_t granules, uint32_t most) const {
  const auto [first, second] = class_of(granules);
  uint32_t id = heads_[first][second];
  for (uint32_t i = 0; i < most && id != kNone; ++i, id = nodes_[id].next_free) {
    if (nodes_[id].size >= granules) return id;
  }
  return kNone;
}

std::optional<uint32_t> Tlsf::find(uint64_t granules) const {
  if (granules >= kCloseFitGranules) {
    const uint32_t id = walk_own_class(granules, kMaxClassWalk);
    if (id != kNone) return id;
  }
  auto [first, second] = class_to_search(granules);
  if (first >= kFirstLevels) return std::nullopt;
  uint32_t bits = second_level_bits_[first] & (~0U << second);
  if (bits == 0) {
    const uint64_t above = first + 1 < 64 ? first_level_bits_ & (~uint64_t{0} << (first + 1)) : 0;
    if (above == 0) {
      // The class of its own size may still hold a block that fits.
      const uint32_t id = walk_own_class(granules, kMaxClassWalk);
      return id == kNone ? std::nullopt : std::optional(id);
    }
    first = static_cast<uint32_t>(std::countr_zero(above));
    bits = second_level_bits_[first];
  }
  return heads_[first][static_cast<uint32_t>(std::countr_zero(bits))];
}

uint64_t Tlsf::granules_for(uint64_t bytes) const {
  const uint64_t below = (uint64_t{1} << granularity_log2_) - 1;
  return (bytes >> granularity_log2_) + ((bytes & below) != 0 ? 1 : 0);
}

Tlsf::Block Tlsf::block_of(uint32_t id) const {
  const Node& node = nodes_[id];
  return {node.offset << granularity_log2_, uint64_t{node.size} << granularity_log2_, id};
}

void Tlsf::split(uint32_t id, uint64_t granules, uint32_t rest) {
  Node& node = nodes_[id];
  nodes_[rest].offset = node.offset + granules;
  nodes_[rest].size = node.size - granules;
  nodes_[rest].previous = id;
  nodes_[rest].next = node.next;
  if (node.next != kNone) nodes_[node.next].previous = rest;
  node.next = rest;
  node.size = granules;
}

bool Tlsf::fits(uint64_t bytes) const {
  const uint64_t granules = granules_for(bytes);
  return granules > 0 && granules <= free_bytes_ >> granularity_log2_ && find(granules).has_value();
}

std::optional<Tlsf::Block> Tlsf::allocate(uint64_t bytes) {
  const uint64_t granules = granules_for(bytes);
  if (granules == 0 || granules > size_bytes_ >> granularity_log2_) return std::nullopt;
  const std::optional<uint32_t> found = find(granules);
  if (!found) return std::nullopt;
  const uint32_t id = *found;
  const bool splits = nodes_[id].size > granules;
  const uint32_t rest = splits ? new_node() : kNone;  // first: it may throw
  remove_free(id);
  if (splits) {
    split(id, granules, rest);
    insert_free(rest);
  }
  ++live_blocks_;
  return block_of(id);
}

uint32_t Tlsf::allocate_run(uint64_t bytes, uint32_t count, Block* out) {
  const uint64_t granules = granules_for(bytes);
  if (granules == 0 || granules > size_bytes_ >> granularity_log2_) return 0;
  const auto [first, second] = class_of(granules);
  uint32_t taken = 0;
  for (; taken < count; ++taken) {
    const uint32_t id = heads_[first][second];
    if (id == kNone || nodes_[id].size != granules) break;
    remove_free(id);
    ++live_blocks_;
    out[taken] = block_of(id);
  }
  if (taken > 0) return taken;
  for (; count > 0; count /= 2) {
    reserve_nodes(count);  // so that nothing below throws
    auto piece = allocate(granules * count << granularity_log2_);
    if (!piece) continue;
    uint32_t id = piece->id;
    for (; taken + 1 < count; ++taken) {
      const uint32_t rest = new_node();
      split(id, granules, rest);
      ++live_blocks_;
      out[taken] = block_of(id);
      id = rest;
    }
    out[taken++] = block_of(id);
    return taken;
  }
  return 0;
}

void Tlsf::free(uint32_t id) {
  assert(id < nodes_.size() && !nodes_[id].is_free && nodes_[id].size > 0);
  --live_blocks_;
  if (nodes_[id].next != kNone && nodes_[nodes_[id].next].is_free) {
    remove_free(nodes_[id].next);
    absorb_next(id);
  }
  const uint32_t previous = nodes_[id].previous;
  if (previous != kNone && nodes_[previous].is_free) {
    remove_free(previous);
    absorb_next(previous);
    insert_free(previous);
  } else {
    insert_free(id);
  }
}

bool Tlsf::is_live(uint32_t id, uint64_t bytes) const {
  return id < nodes_.size() && !nodes_[id].is_free &&
         uint64_t{nodes_[id].size} << granularity_log2_ == bytes;
}

void Tlsf::reserve_nodes(uint64_t count) {
  if (nodes_.capacity() - nodes_.size() + unused_.size() >= count) return;
  nodes_.reserve(2 * nodes_.capacity() + count);
  unused_.reserve(nodes_.capacity());  // so that free() never allocates
}

uint32_t Tlsf::new_node() {
  if (unused_.empty()) {
    reserve_nodes(1);
    nodes_.emplace_back();
    return static_cast<uint32_t>(nodes_.size() - 1);
  }
  const uint32_t id = unused_.back();
  unused_.pop_back();
  nodes_[id] = Node{};
  return id;
}

void Tlsf::insert_free(uint32_t id) {
  Node& node = nodes_[id];
  const auto [first, second] = class_of(node.size);
  uint32_t& head = heads_[first][second];
  node.is_free = 1;
  node.previous_free = kNone;
  node.next_free = head;
  if (head != kNone) nodes_[head].previous_free = id;
  head = id;
  second_level_bits_[first] |= 1U << second;
  first_level_bits_ |= uint64_t{1} << first;
  free_bytes_ += uint64_t{node.size} << granularity_log2_;
}

void Tlsf::remove_free(uint32_t id) {
  Node& node = nodes_[id];
  const auto [first, second] = class_of(node.size);
  if (node.previous_free != kNone) {
    nodes_[node.previous_free].next_free = node.next_free;
  } else {
    heads_[first][second] = node.next_free;
  }
  if (node.next_free != kNone) nodes_[node.next_free].previous_free = node.previous_free;
  if (heads_[first][second] == kNone) {
    second_level_bits_[first] &= ~(1U << second);
    if (second_level_bits_[first] == 0) first_level_bits_ &= ~(uint64_t{1} << first);
  }
  node.is_free = 0;
  free_bytes_ -= uint64_t{node.size} << granularity_log2_;
}

void Tlsf::absorb_next(uint32_t id) {
  const uint32_t gone = nodes_[id].next;
  nodes_[id].size += nodes_[gone].size;
  nodes_[id].next = nodes_[gone].next;
  if (nodes_[id].next != kNone) nodes_[nodes_[id].next].previous = id;
  nodes_[gone].size = 0;
  unused_.push_back(gone);
}

uint64_t Tlsf::largest_free_bytes() const {
  if (first_level_bits_ == 0) return 0;
  const auto first = static_cast<uint32_t>(std::bit_width(first_level_bits_) - 1);
  const auto second = static_cast<uint32_t>(std::bit_width(second_level_bits_[first]) - 1);
  uint64_t largest = 0;
  for (uint32_t id = heads_[first][second]; id != kNone; id = nodes_[id].next_free) {
    largest = std::max<uint64_t>(largest, nodes_[id].size);
  }
  return largest << granularity_log2_;
}

bool Tlsf::check_integrity() const {
  uint32_t id = 0;  // node 0 always starts the range: it is never absorbed into a previous one
  uint64_t at = 0;
  uint64_t free_granules = 0;
  uint64_t live = 0;
  uint64_t listed = 0;
  for (uint32_t previous = kNone; id != kNone; previous = id, id = nodes_[id].next) {
    const Node& node = nodes_[id];
    if (node.offset != at || node.size == 0 || node.previous != previous) return false;
    if (node.is_free && previous != kNone && nodes_[previous].is_free) return false;
    at += node.size;
    free_granules += node.is_free ? node.size : 0;
    live += node.is_free ? 0 : 1;
  }
  for (uint32_t first = 0; first < kFirstLevels; ++first) {
    for (uint32_t second = 0; second < kSecondLevels; ++second) {
      const bool bit = (second_level_bits_[first] >> second & 1U) != 0;
      if (bit != (heads_[first][second] != kNone)) return false;
      for (uint32_t n = heads_[first][second]; n != kNone; n = nodes_[n].next_free) {
        const auto found = class_of(nodes_[n].size);
        if (!nodes_[n].is_free || found.first != first || found.second != second) return false;
        listed += nodes_[n].size;
      }
    }
    if ((first_level_bits_ >> first & 1U) != (second_level_bits_[first] != 0 ? 1U : 0U))
      return false;
  }
  return at << granularity_log2_ == size_bytes_ && listed == free_granules &&
         free_granules << granularity_log2_ == free_bytes_ && live == live_blocks_;
}

}  // namespace krserve::runtime
