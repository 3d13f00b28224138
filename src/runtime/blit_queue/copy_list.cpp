#include "runtime/blit_queue/copy_list.h"

#include <algorithm>

#include "base/error.h"
#include "base/units.h"

namespace krserve::runtime {
namespace {

// A copy takes a device some 3 us before its first byte, in which the fastest links move so much.
constexpr uint64_t kCostOfACopy = 128 * kKiB;

uint64_t cost_of_copy(uint64_t bytes) {
  return std::max(bytes, kCostOfACopy);
}

bool is_within(const BufferView& view) {
  const uint64_t size = view.buffer ? view.buffer->size_bytes() : 0;
  return view.offset <= size && view.bytes <= size - view.offset;
}

bool continues(const BufferView& before, const BufferView& view) {
  return before.buffer == view.buffer && before.offset + before.bytes == view.offset;
}

bool join(std::vector<ViewPair>& copies, const ViewPair& copy) {
  if (copies.empty()) return false;
  ViewPair& last = copies.back();
  if (!continues(last.dst, copy.dst) || !continues(last.src, copy.src)) return false;
  last.dst.bytes += copy.dst.bytes;
  last.src.bytes += copy.src.bytes;
  return true;
}

}  // namespace

std::vector<ViewPair> checked_pairs(std::span<const ViewPair> pairs) {
  std::vector<ViewPair> out;
  out.reserve(pairs.size());
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto& [dst, src] = pairs[i];
    if (dst.bytes != src.bytes) {
      throw_error<DeviceError>("transfer.submit",
                               "pair {} of {}: {} bytes for a view of {}; give views of one size",
                               i + 1, pairs.size(), src.bytes, dst.bytes);
    }
    if (src.bytes == 0) continue;
    for (const BufferView& view : {dst, src}) {
      if (is_within(view)) continue;
      throw_error<DeviceError>("transfer.submit", "pair {} of {}: {} bytes at {} of a buffer of {}",
                               i + 1, pairs.size(), view.bytes, view.offset,
                               view.buffer ? view.buffer->size_bytes() : 0);
    }
    out.push_back(pairs[i]);
  }
  return out;
}

uint64_t bytes_of(std::span<const ViewPair> pairs) {
  uint64_t bytes = 0;
  for (const ViewPair& pair : pairs) bytes += pair.src.bytes;
  return bytes;
}

uint64_t cost_of(std::span<const ViewPair> pairs) {
  uint64_t cost = 0;
  for (const ViewPair& pair : pairs) cost += cost_of_copy(pair.src.bytes);
  return cost;
}

std::vector<ViewPair> CopyCutter::next(uint64_t most_cost) {
  std::vector<ViewPair> out;
  uint64_t room = most_cost;
  while (!rest_.empty()) {
    const ViewPair& pair = rest_.front();
    const uint64_t left = pair.src.bytes - at_;
    if (cost_of_copy(left) > room && !out.empty()) break;
    const uint64_t size = std::min(left, most_cost);
    const ViewPair copy{pair.dst.sub(at_, size), pair.src.sub(at_, size)};
    if (!join(out, copy)) out.push_back(copy);
    room -= std::min(room, cost_of_copy(size));
    at_ += size;
    if (at_ < pair.src.bytes) break;
    rest_ = rest_.subspan(1);
    at_ = 0;
  }
  return out;
}

}  // namespace krserve::runtime
