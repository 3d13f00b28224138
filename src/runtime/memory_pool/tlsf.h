// Two-level segregated fit over offsets: O(1) allocate and free, metadata outside the managed
// range. Source: Masmano et al., "TLSF: a new dynamic memory allocator for real-time systems",
// 2004.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace krserve::runtime {

class Tlsf {
 public:
  struct Block {
    uint64_t offset;
    uint64_t bytes;  // rounded up to the granularity
    uint32_t id;     // for free()
  };

  // Manages [0, size_bytes). Offsets and sizes are multiples of `granularity`, a power of two.
  Tlsf(uint64_t size_bytes, uint64_t granularity);

  // None if no free block is large enough, or only ones deep in the class of sizes just above
  // `bytes` (at most 1/32 larger), which it does not search to the end.
  std::optional<Block> allocate(uint64_t bytes);
  // Whether allocate() would succeed.
  bool fits(uint64_t bytes) const;
  // Up to `count` blocks of `bytes` at once: free blocks of exactly that size, else one free block
  // cut into as many pieces as it gives, half as many at each try. Returns how many.
  uint32_t allocate_run(uint64_t bytes, uint32_t count, Block* out);
  void free(uint32_t id);
  // Hints for a free that comes soon: the first, and when that has arrived, the second.
  void prefetch(uint32_t id) const { __builtin_prefetch(&nodes_[id]); }
  void prefetch_neighbours(uint32_t id) const {
    const Node& node = nodes_[id];
    if (node.next != kNone) __builtin_prefetch(&nodes_[node.next]);
    if (node.previous != kNone) __builtin_prefetch(&nodes_[node.previous]);
  }
  bool is_live(uint32_t id, uint64_t bytes) const;

  uint64_t size_bytes() const { return size_bytes_; }
  uint64_t free_bytes() const { return free_bytes_; }
  uint64_t live_blocks() const { return live_blocks_; }
  // Exact; walks one size class.
  uint64_t largest_free_bytes() const;
  // Blocks tile the range, no two free neighbours, lists and bitmaps agree, free + live == total.
  bool check_integrity() const;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kSecondLevelLog2 = 5;
  static constexpr uint32_t kSecondLevels = 1U << kSecondLevelLog2;
  static constexpr uint32_t kFirstLevels = 48;
  static constexpr uint32_t kMaxClassWalk = 32;
  // From so many granules on (1 MiB of 64 bytes), a class is wide enough to look for a closer fit
  // in it first.
  static constexpr uint64_t kCloseFitGranules = 1 << 14;

  // Two to a cache line.
  struct Node {
    uint64_t offset = 0;  // in granules
    uint64_t size : 63 = 0;
    uint64_t is_free : 1 = 0;
    uint32_t previous = kNone;  // neighbours in the range
    uint32_t next = kNone;
    uint32_t previous_free = kNone;  // neighbours in the size class
    uint32_t next_free = kNone;
  };
  static_assert(sizeof(Node) == 32);
  struct Class {
    uint32_t first;
    uint32_t second;
  };

  static Class class_of(uint64_t granules);
  // The lowest class all of whose blocks hold `granules`.
  static Class class_to_search(uint64_t granules);
  std::optional<uint32_t> find(uint64_t granules) const;
  uint32_t walk_own_class(uint64_t granules, uint32_t most) const;
  uint32_t new_node();
  uint64_t granules_for(uint64_t bytes) const;
  Block block_of(uint32_t id) const;
  void reserve_nodes(uint64_t count);
  // Cuts the block to `granules`; the rest becomes node `rest`, in no list.
  void split(uint32_t id, uint64_t granules, uint32_t rest);
  void insert_free(uint32_t id);
  void remove_free(uint32_t id);
  void absorb_next(uint32_t id);

  uint64_t size_bytes_;
  uint32_t granularity_log2_;
  uint64_t free_bytes_ = 0;
  uint64_t live_blocks_ = 0;
  uint64_t first_level_bits_ = 0;
  std::array<uint32_t, kFirstLevels> second_level_bits_{};
  std::array<std::array<uint32_t, kSecondLevels>, kFirstLevels> heads_;
  std::vector<Node> nodes_;
  std::vector<uint32_t> unused_;
};

}  // namespace krserve::runtime
