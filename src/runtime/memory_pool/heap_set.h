// The pool's heaps and which of their blocks are taken; the part of the pool that knows no locks.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "device/buffer.h"
#include "runtime/memory_pool/tlsf.h"

namespace krserve::runtime {

struct HeapBlock {
  Buffer* buffer = nullptr;
  uint64_t offset = 0;
  uint64_t bytes = 0;  // with rounding
  uint32_t heap = 0;
  uint32_t block = 0;
};

// Not thread-safe. Of the heaps with room the fullest serves, grown ones last, so that the emptiest
// grown heap runs empty and can be given back.
class HeapSet {
 public:
  // Blocks are multiples of `granularity`, a power of two.
  explicit HeapSet(uint64_t granularity) : granularity_(granularity) {}

  void add(std::unique_ptr<Heap> heap, bool grown);
  // Moves the grown heaps without a taken block out.
  std::vector<std::unique_ptr<Heap>> take_empty_grown();

  bool allocate(uint64_t bytes, HeapBlock& out);
  // Up to `count` blocks of the same size; returns how many.
  uint32_t allocate_run(uint64_t bytes, uint32_t count, HeapBlock* out);
  void free(std::span<const HeapBlock> blocks);

  // Takes a block that stays cut at this size: an allocation of exactly these bytes gets it, and
  // when it is freed it waits for the next. None if no heap has room.
  std::optional<HeapBlock> set_aside(uint64_t bytes);
  // Makes free ones among them ordinary free memory, and the others when they are freed.
  void merge_set_aside();

  uint64_t granularity() const { return granularity_; }
  uint32_t heaps() const;
  uint64_t bytes() const { return bytes_; }
  // Blocks taken, those set aside and waiting not counted; by heap with `index`.
  uint64_t taken_bytes() const;
  uint64_t taken_blocks() const;
  uint64_t taken_blocks(uint32_t index) const;
  uint32_t slots() const { return static_cast<uint32_t>(heaps_.size()); }
  uint64_t largest_free_bytes() const;
  uint64_t largest_free_bytes(uint32_t index) const;
  bool is_taken(const HeapBlock& block) const;
  bool check_integrity() const;

 private:
  struct Entry {
    std::unique_ptr<Heap> heap;
    Tlsf blocks;
    bool grown;
  };
  struct SetAside {
    HeapBlock block;
    bool waits;
  };

  bool keep_set_aside(const HeapBlock& block);
  // None if no heap has room.
  std::optional<uint32_t> fullest_with_room(uint64_t bytes) const;
  HeapBlock block_of(uint32_t index, const Tlsf::Block& block) const;

  const uint64_t granularity_;
  uint64_t bytes_ = 0;
  std::vector<std::unique_ptr<Entry>> heaps_;  // null where a grown heap was
  std::vector<SetAside> set_aside_;
};

}  // namespace krserve::runtime
