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
  const uint32_t id = new_node();
  nodes_[id].size = size_bytes >> granularity_log2_;
  size_bytes_ = nodes_[id].size << granularity_log2_;
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

std::optional<uint32_t> Tlsf::find(uint64_t granules) const {
  auto [first, second] = class_to_search(granules);
  if (first >= kFirstLevels) return std::nullopt;
  uint32_t bits = second_level_bits_[first] & (~0U << second);
  if (bits == 0) {
    const uint64_t above = first + 1 < 64 ? first_level_bits_ & (~uint64_t{0} << (first + 1)) : 0;
    if (above == 0) {
      // The class of its own size may still hold a block that fits.
      const auto [f, s] = class_of(granules);
      uint32_t id = heads_[f][s];
      for (uint32_t i = 0; i < kMaxClassWalk && id != kNone; ++i, id = nodes_[id].next_free) {
        if (nodes_[id].size >= granules) return id;
      }
      return std::nullopt;
    }
    first = static_cast<uint32_t>(std::countr_zero(above));
    bits = second_level_bits_[first];
  }
  return heads_[first][static_cast<uint32_t>(std::countr_zero(bits))];
}

std::optional<Tlsf::Block> Tlsf::allocate(uint64_t bytes) {
  const uint64_t granules = (bytes + (uint64_t{1} << granularity_log2_) - 1) >> granularity_log2_;
  if (granules == 0 || granules > size_bytes_ >> granularity_log2_) return std::nullopt;
  const std::optional<uint32_t> found = find(granules);
  if (!found) return std::nullopt;
  const uint32_t id = *found;
  const bool split = nodes_[id].size > granules;
  const uint32_t rest = split ? new_node() : kNone;  // first: it may throw
  remove_free(id);
  if (split) {
    Node& node = nodes_[id];
    nodes_[rest].offset = node.offset + granules;
    nodes_[rest].size = node.size - granules;
    nodes_[rest].previous = id;
    nodes_[rest].next = node.next;
    if (node.next != kNone) nodes_[node.next].previous = rest;
    node.next = rest;
    node.size = granules;
    insert_free(rest);
  }
  ++live_blocks_;
  return Block{nodes_[id].offset << granularity_log2_, granules << granularity_log2_, id};
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

uint32_t Tlsf::new_node() {
  if (unused_.empty()) {
    nodes_.emplace_back();
    unused_.reserve(nodes_.capacity());  // so that free() never allocates
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
  node.is_free = true;
  node.previous_free = kNone;
  node.next_free = head;
  if (head != kNone) nodes_[head].previous_free = id;
  head = id;
  second_level_bits_[first] |= 1U << second;
  first_level_bits_ |= uint64_t{1} << first;
  free_bytes_ += node.size << granularity_log2_;
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
  node.is_free = false;
  free_bytes_ -= node.size << granularity_log2_;
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
    largest = std::max(largest, nodes_[id].size);
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
