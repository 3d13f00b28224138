#include "engine/kv_cache/kv_cache.h"

#include <algorithm>
#include <bit>

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
  const uint64_t preferred =
      std::max<uint64_t>(1, std::bit_floor(options.max_segment_bytes / layout_.page_bytes));
  const uint64_t least = std::bit_ceil(ceil_div<uint64_t>(pages, ops::kMaxKvSegments));
  const uint64_t per_segment = std::max(preferred, least);
  layout_.segment_shift = static_cast<uint32_t>(std::countr_zero(per_segment));
  pages_ = runtime::PagePool(allocator, runtime::MemoryTag::kKv, layout_.page_bytes,
                             static_cast<uint32_t>(pages), per_segment);
}

uint32_t KvCache::pages_for(uint64_t tokens) const {
  return static_cast<uint32_t>(ceil_div<uint64_t>(tokens, layout_.page_tokens));
}

bool KvCache::grow(std::vector<uint32_t>& pages, uint64_t tokens) {
  const uint32_t wanted = pages_for(tokens);
  return wanted <= pages.size() || pages_.take(pages, wanted - pages.size());
}

}  // namespace krserve::engine
