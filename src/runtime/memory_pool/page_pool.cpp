#include "runtime/memory_pool/page_pool.h"

#include <algorithm>
#include <cassert>
#include <ranges>

namespace krserve::runtime {

PagePool::PagePool(Allocator& allocator, MemoryTag tag, uint64_t page_bytes, uint32_t pages,
                   uint64_t segment_pages)
    : page_bytes_(page_bytes), total_(pages) {
  for (uint64_t first = 0; first < pages; first += segment_pages) {
    const uint64_t count = std::min<uint64_t>(segment_pages, pages - first);
    blocks_.push_back(allocator.allocate(count * page_bytes, tag));
    views_.push_back(blocks_.back().view());
  }
  states_.assign(pages, State::kFree);
  quarantined_.assign(pages, false);
  free_.reserve(pages);
  for (uint32_t page = pages; page > 0; --page) free_.push_back(page - 1);
}

bool PagePool::take(std::vector<uint32_t>& pages, size_t count) {
  if (count > free_.size()) return false;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t page = free_.back();
    free_.pop_back();
    states_[page] = State::kTaken;
    pages.push_back(page);
  }
  return true;
}

void PagePool::give_back(std::vector<uint32_t>& pages) {
  for (const uint32_t page : std::views::reverse(pages)) {
    assert(page < total_ && states_[page] == State::kTaken);
    states_[page] = quarantined_[page] ? State::kHeldBack : State::kFree;
    (quarantined_[page] ? held_back_ : free_).push_back(page);
  }
  pages.clear();
}

void PagePool::quarantine(const std::vector<uint32_t>& pages) {
  for (const uint32_t page : pages) quarantined_[page] = true;
  // Rare, after a hung step: those that are free already are picked out one by one.
  std::erase_if(free_, [&](uint32_t page) {
    if (!quarantined_[page]) return false;
    states_[page] = State::kHeldBack;
    held_back_.push_back(page);
    return true;
  });
}

void PagePool::lift_quarantine() {
  quarantined_.assign(total_, false);
  for (const uint32_t page : held_back_) states_[page] = State::kFree;
  free_.insert(free_.end(), held_back_.begin(), held_back_.end());
  held_back_.clear();
}

bool PagePool::check_integrity() const {
  std::vector<bool> seen(total_, false);
  const auto listed_once = [&](const std::vector<uint32_t>& pages, State state) {
    return std::all_of(pages.begin(), pages.end(), [&](uint32_t page) {
      if (page >= total_ || seen[page] || states_[page] != state) return false;
      seen[page] = true;
      return true;
    });
  };
  if (!listed_once(free_, State::kFree) || !listed_once(held_back_, State::kHeldBack)) return false;
  const auto taken = std::count(states_.begin(), states_.end(), State::kTaken);
  return free_.size() + held_back_.size() + static_cast<size_t>(taken) == total_;
}

}  // namespace krserve::runtime
