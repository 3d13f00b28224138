// What the pool is compared with: each peer hands out and takes back blocks in its own way.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/memory_pool/allocator.h"

namespace krserve::bench {

// A block of any peer. Only one of the two is set.
struct Block {
  runtime::Allocation allocation;
  void* pointer = nullptr;
};

class Peer {
 public:
  Peer() = default;
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  virtual ~Peer() = default;

  virtual const std::string& name() const = 0;
  // A device allocation costs microseconds: such a peer gets fewer operations.
  virtual bool slow() const { return false; }
};

// The pool and the device behind the Allocator interface.
class AllocatorPeer final : public Peer {
 public:
  AllocatorPeer(std::string name, std::unique_ptr<runtime::Allocator> allocator, bool is_slow)
      : name_(std::move(name)), allocator_(std::move(allocator)), slow_(is_slow) {}

  const std::string& name() const override { return name_; }
  bool slow() const override { return slow_; }
  runtime::Allocator& allocator() { return *allocator_; }

  void allocate(uint64_t bytes, runtime::MemoryTag tag, Block& out) {
    out.allocation = allocator_->allocate(bytes, tag);
  }
  void free(Block& block) { block.allocation.reset(); }

 private:
  std::string name_;
  std::unique_ptr<runtime::Allocator> allocator_;
  bool slow_;
};

// malloc and free of a library, or of the process.
class MallocPeer final : public Peer {
 public:
  using Malloc = void* (*)(size_t);
  using Free = void (*)(void*);

  MallocPeer(std::string name, Malloc take, Free give_back)
      : name_(std::move(name)), malloc_(take), free_(give_back) {}

  const std::string& name() const override { return name_; }

  void allocate(uint64_t bytes, runtime::MemoryTag, Block& out) { out.pointer = malloc_(bytes); }
  void free(Block& block) {
    free_(block.pointer);
    block.pointer = nullptr;
  }

 private:
  std::string name_;
  Malloc malloc_;
  Free free_;
};

// `run` with the peer's own type, so that the measured loop makes no virtual call of ours.
template <class Run>
auto visit(Peer& peer, Run run) {
  if (auto* pool = dynamic_cast<AllocatorPeer*>(&peer)) return run(*pool);
  return run(static_cast<MallocPeer&>(peer));
}

// A pool of `heaps` heaps of `heap_mb` on a CPU device.
std::unique_ptr<AllocatorPeer> make_pool(int64_t heap_mb, int64_t heaps);
std::unique_ptr<AllocatorPeer> make_direct();
// malloc, mimalloc and jemalloc; what is not installed is left out and named in `missing`.
std::vector<std::unique_ptr<Peer>> make_mallocs(std::vector<std::string>& missing);

}  // namespace krserve::bench
