#include "engine/step/step_params.h"

#include <cassert>
#include <cstring>

#include "engine/sampler/sample_row.h"

namespace krserve::engine {
namespace {

template <class T>
void put(std::vector<std::byte>& out, uint64_t offset, const T& value) {
  std::memcpy(out.data() + offset, &value, sizeof(T));
}

ops::StepRow make_row(const PlannedRows& part, uint32_t position, uint32_t pages_begin) {
  const Sequence& sequence = *part.sequence;
  ops::StepRow row{};
  row.position = position;
  row.slot = part.slot;
  row.pages_begin = pages_begin;
  row.token = ops::kTokenFromSlot;
  if (position < sequence.known_at_admission) {
    row.token = sequence.tokens[position];
    if (sequence.request.sampling.uses_penalties()) {
      row.flags = position < sequence.prompt_tokens ? ops::kRowCountPrompt : ops::kRowCountOutput;
    }
  }
  if (part.clear_counts && position == part.first_position &&
      sequence.request.sampling.uses_penalties()) {
    row.flags |= ops::kRowClearCounts;
  }
  return row;
}

}  // namespace

uint64_t step_params_bytes(StepCapacity capacity, uint64_t pages) {
  return ops::step_layout(capacity.rows, capacity.samples).pages_offset + pages * sizeof(uint32_t);
}

void write_step_params(const StepPlan& plan, StepCapacity capacity, std::vector<std::byte>& out) {
  assert(plan.rows <= capacity.rows && plan.samples <= capacity.samples);
  const ops::StepLayout layout = ops::step_layout(capacity.rows, capacity.samples);
  uint64_t pages = 0;
  for (const PlannedRows& part : plan.parts) pages += part.pages.size();
  out.assign(layout.pages_offset + pages * sizeof(uint32_t), std::byte{0});
  put(out, 0, ops::StepHeader{plan.rows, plan.samples, static_cast<uint32_t>(pages), 0});

  uint32_t row = 0;
  uint32_t sample = 0;
  uint32_t page = 0;
  for (const PlannedRows& part : plan.parts) {
    for (uint32_t i = 0; i < part.count; ++i) {
      put(out, layout.rows_offset + (row + i) * sizeof(ops::StepRow),
          make_row(part, part.first_position + i, page));
    }
    row += part.count;
    if (part.samples) {
      put(out, layout.samples_offset + sample++ * sizeof(ops::SampleRow),
          make_sample_row(part.sequence->request.sampling, part.sequence->seed, row - 1, part.slot,
                          part.draw_index));
    }
    std::memcpy(out.data() + layout.pages_offset + page * sizeof(uint32_t), part.pages.data(),
                part.pages.size() * sizeof(uint32_t));
    page += static_cast<uint32_t>(part.pages.size());
  }
}

}  // namespace krserve::engine
