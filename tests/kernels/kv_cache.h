// A small paged KV cache in two segments, filled with a known pattern.
#pragma once

#include <cmath>
#include <numeric>

#include "kernels/kernel_test.h"
#include "kernels/ops/kv_layout.h"

namespace krserve::kernels {

// Pages of 5 tokens, 3 layers of which tests use the second, 64 pages in 2 segments of 32, and a
// gap between pages.
class TestKvCache {
 public:
  static constexpr uint32_t kPageTokens = 5;
  static constexpr uint32_t kShift = 5;
  static constexpr uint32_t kPages = 64;

  TestKvCache(ops::FloatType type, uint32_t head_dim, uint32_t kv_heads) {
    layout_ = {0, kPageTokens, kShift, kv_heads, head_dim, type, 1};
    layout_.page_bytes = 3 * 2 * ops::kv_plane_bytes(layout_) + 24;
    const size_t bytes = layout_.page_bytes << kShift;
    // NaN in every type: reading what was not written shows.
    segments_.assign(kPages >> kShift, std::vector<uint8_t>(bytes, 0xff));
  }

  const ops::KvLayout& layout() const { return layout_; }

  // `count` pages, scattered over both segments; the start must differ between sequences.
  std::vector<uint32_t> page_list(uint32_t count, uint32_t start = 0) const {
    std::vector<uint32_t> pages;
    for (uint32_t i = 0; i < count; ++i) pages.push_back((start + i) * 37 % kPages);
    return pages;
  }

  void append_segments(std::vector<void*>& buffers) {
    for (std::vector<uint8_t>& segment : segments_) buffers.push_back(segment.data());
  }

  float get(const std::vector<uint32_t>& pages, uint32_t position, uint32_t plane, uint32_t head,
            uint32_t element) {
    return read_float(token(pages, position, plane, head), layout_.type, element);
  }
  void set(const std::vector<uint32_t>& pages, uint32_t position, uint32_t plane, uint32_t head,
           uint32_t element, float value) {
    store_float(token(pages, position, plane, head), layout_.type, element, value);
  }

  // Elements that no longer hold the initial pattern.
  size_t changed_elements() const {
    size_t changed = 0;
    const size_t width = ops::bytes_of(layout_.type);
    for (const std::vector<uint8_t>& segment : segments_) {
      for (size_t i = 0; i + width <= segment.size(); i += width) {
        changed +=
            std::accumulate(segment.begin() + static_cast<ptrdiff_t>(i),
                            segment.begin() + static_cast<ptrdiff_t>(i + width), 0u) != 255 * width;
      }
    }
    return changed;
  }

 private:
  uint8_t* token(const std::vector<uint32_t>& pages, uint32_t position, uint32_t plane,
                 uint32_t head) {
    const uint32_t page = pages.at(position / kPageTokens);
    const size_t row = layout_.head_dim * ops::bytes_of(layout_.type);
    return segments_.at(page >> kShift).data() +
           (page & ((1u << kShift) - 1)) * layout_.page_bytes +
           (size_t{layout_.layer} * 2 + plane) * ops::kv_plane_bytes(layout_) +
           (head * kPageTokens + position % kPageTokens) * row;
  }

  ops::KvLayout layout_{};
  std::vector<std::vector<uint8_t>> segments_;
};

}  // namespace krserve::kernels
