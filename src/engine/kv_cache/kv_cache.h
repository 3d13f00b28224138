// The paged KV cache: fixed-size pages in a few segments of device memory, handed to sequences.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/ops/kv_layout.h"
#include "model/formats/model_config.h"
#include "runtime/memory_pool/page_pool.h"

namespace krserve::engine {

struct KvCacheOptions {
  uint32_t page_tokens = 16;
  ops::FloatType type = ops::FloatType::kF16;
  uint64_t total_tokens = 0;       // rounded up to whole pages
  uint64_t max_segment_bytes = 0;  // preferred: a pool heap; exceeded when kMaxKvSegments demand it
};

// Bytes of KV that one token of context takes.
uint64_t kv_bytes_per_token(const ModelConfig& config, ops::FloatType type);

// Not thread-safe: the engine's thread owns it. A page given back may be reused at once, since
// steps run in order on one queue.
class KvCache {
 public:
  // Throws OutOfMemoryError.
  KvCache(const ModelConfig& config, const KvCacheOptions& options, runtime::Allocator& allocator);

  // The layout for kernels, layer 0.
  const ops::KvLayout& layout() const { return layout_; }
  const std::vector<BufferView>& segments() const { return pages_.segments(); }

  uint32_t total_pages() const { return pages_.total(); }
  uint32_t free_pages() const { return pages_.free(); }
  uint32_t used_pages() const { return total_pages() - free_pages(); }
  uint32_t pages_for(uint64_t tokens) const;
  uint64_t bytes() const { return pages_.bytes(); }

  // Appends pages to `pages` until it holds `tokens`; false (and nothing taken) if too few are
  // free.
  bool grow(std::vector<uint32_t>& pages, uint64_t tokens);
  // Gives all pages back.
  void release(std::vector<uint32_t>& pages) { pages_.give_back(pages); }
  // A hung step may still write these: they stay out of use, released or not, until
  // lift_quarantine.
  void quarantine(const std::vector<uint32_t>& pages) { pages_.quarantine(pages); }
  void lift_quarantine() { pages_.lift_quarantine(); }
  bool check_integrity() const { return pages_.check_integrity(); }

 private:
  ops::KvLayout layout_{};
  runtime::PagePool pages_;
};

}  // namespace krserve::engine
