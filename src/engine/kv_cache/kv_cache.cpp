#include "engine/kv_cache/kv_cache.h"

#include <algorithm>
#include <bit>
#include <ranges>

#include "base/error.h"
#include "base/units.h"

namespace krserve::engine {

uint64_t kv_bytes_per_token(const ModelConfig& config, ops::FloatType type) {
  return uint64_t{2} * config.layers * config.kv_size() * ops::bytes_of(type);
}

KvCache::KvCache(const ModelConfig& config, const KvCacheOptions& options,
                 runtime::Allocator& allocator) {
  layout_.page_tokens = options.page_tokens;
  layout_.page_bytes = kv_bytes_per_token(config, options.type) * options.page_tokens;
  layout_.kv_heads = config.kv_heads;
  layout_.head_dim = config.head_dim;
  layout_.type = options.type;
  const uint64_t pages = ceil_div<uint64_t>(options.total_tokens, options.page_tokens);
  if (pages == 0 || pages > UINT32_MAX / 2) {
    throw_error<ConfigError>("kv_cache.create",
                             "{} pages of {} tokens asked for; set "
                             "engine.kv_cache_mb or engine.ctx_size",
                             pages, options.page_tokens);
  }
  total_pages_ = static_cast<uint32_t>(pages);
  const uint64_t preferred =
      std::max<uint64_t>(1, std::bit_floor(options.max_segment_bytes / layout_.page_bytes));
  const uint64_t least = std::bit_ceil(ceil_div<uint64_t>(pages, ops::kMaxKvSegments));
  const uint64_t per_segment = std::max(preferred, least);
  layout_.segment_shift = static_cast<uint32_t>(std::countr_zero(per_segment));
  for (uint64_t first = 0; first < pages; first += per_segment) {
    const uint64_t count = std::min(per_segment, pages - first);
    segments_.push_back(allocator.allocate(count * layout_.page_bytes, runtime::MemoryTag::kKv));
    views_.push_back(segments_.back().view());
  }
  quarantined_.assign(total_pages_, false);
  free_.reserve(total_pages_);
  for (uint32_t page = total_pages_; page > 0; --page) free_.push_back(page - 1);
}

uint32_t KvCache::pages_for(uint64_t tokens) const {
  return static_cast<uint32_t>(ceil_div<uint64_t>(tokens, layout_.page_tokens));
}

uint64_t KvCache::bytes() const {
  return total_pages_ * layout_.page_bytes;
}

bool KvCache::grow(std::vector<uint32_t>& pages, uint64_t tokens) {
  const uint32_t wanted = pages_for(tokens);
  if (wanted <= pages.size()) return true;
  const size_t missing = wanted - pages.size();
  if (missing > free_.size()) return false;
  for (size_t i = 0; i < missing; ++i) {
    pages.push_back(free_.back());
    free_.pop_back();
  }
  return true;
}

void KvCache::release(std::vector<uint32_t>& pages) {
  for (const uint32_t page : std::views::reverse(pages)) {
    (quarantined_[page] ? held_back_ : free_).push_back(page);
  }
  pages.clear();
}

void KvCache::quarantine(const std::vector<uint32_t>& pages) {
  for (const uint32_t page : pages) quarantined_[page] = true;
}

void KvCache::lift_quarantine() {
  quarantined_.assign(total_pages_, false);
  free_.insert(free_.end(), held_back_.begin(), held_back_.end());
  held_back_.clear();
}

bool KvCache::check_integrity() const {
  std::vector<uint32_t> sorted = free_;
  std::sort(sorted.begin(), sorted.end());
  return std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end() &&
         (sorted.empty() || sorted.back() < total_pages_);
}

}  // namespace krserve::engine
