#include "runtime/memory_pool/static_plan.h"

#include <algorithm>
#include <cassert>
#include <numeric>

#include "base/units.h"

namespace krserve::runtime {
namespace {

bool alive_together(const PlannedTensor& a, const PlannedTensor& b) {
  return a.first_use <= b.last_use && b.first_use <= a.last_use;
}

uint64_t lowest_fit(const PlannedTensor& tensor, const std::vector<const PlannedTensor*>& placed,
                    uint64_t alignment) {
  uint64_t offset = 0;
  for (const PlannedTensor* other : placed) {  // in order of offset
    if (!alive_together(tensor, *other)) continue;
    if (offset + tensor.bytes <= other->offset) break;
    offset = std::max(offset, align_up(other->offset + other->bytes, alignment));
  }
  return offset;
}

}  // namespace

const PlannedTensor& StaticPlan::tensor(const std::string& name) const {
  const auto it = std::find_if(tensors.begin(), tensors.end(),
                               [&](const PlannedTensor& t) { return t.name == name; });
  assert(it != tensors.end());
  return *it;
}

StaticPlan plan_offsets(std::vector<PlannedTensor> tensors, uint64_t alignment) {
  StaticPlan plan;
  plan.tensors = std::move(tensors);
  std::vector<size_t> order(plan.tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const uint64_t bytes_a = plan.tensors[a].bytes;
    const uint64_t bytes_b = plan.tensors[b].bytes;
    return bytes_a != bytes_b ? bytes_a > bytes_b : a < b;
  });
  std::vector<const PlannedTensor*> placed;
  for (const size_t index : order) {
    PlannedTensor& tensor = plan.tensors[index];
    tensor.offset = lowest_fit(tensor, placed, alignment);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), &tensor,
                                   [](const PlannedTensor* a, const PlannedTensor* b) {
                                     return a->offset < b->offset;
                                   }),
                  &tensor);
    plan.planned_bytes = std::max(plan.planned_bytes, tensor.offset + tensor.bytes);
    plan.naive_bytes += align_up(tensor.bytes, alignment);
  }
  plan.planned_bytes = align_up(plan.planned_bytes, alignment);
  return plan;
}

}  // namespace krserve::runtime
