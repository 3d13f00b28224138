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
  if (position < sequence.prompt_tokens) row.flags |= ops::kRowPrompt;
  if (position < sequence.known_at_admission) {
    row.token = sequence.tokens[position];
    if (sequence.request.sampling.uses_penalties()) {
      row.flags |= position < sequence.prompt_tokens ? ops::kRowCountPrompt : ops::kRowCountOutput;
    }
  }
  if (part.clear_counts && position == part.first_position &&
      sequence.request.sampling.uses_penalties()) {
    row.flags |= ops::kRowClearCounts;
  }
  return row;
}

const std::vector<LogitBias>& biases_of(const PlannedRows& part) {
  return part.sequence->request.sampling.logit_bias;
}

void put_biases(std::vector<std::byte>& out, uint64_t offset,
                const std::vector<LogitBias>& biases) {
  for (const LogitBias& entry : biases) {
    put(out, offset, ops::LogitBias{static_cast<uint32_t>(entry.token), entry.bias});
    offset += sizeof(ops::LogitBias);
  }
}

}  // namespace

uint64_t step_params_bytes(StepCapacity capacity, uint64_t pages) {
  const uint64_t biases = uint64_t{capacity.samples} * kMaxLogitBiases;
  return ops::biases_offset(ops::step_layout(capacity.rows, capacity.samples), pages) +
         biases * sizeof(ops::LogitBias);
}

void write_step_params(const StepPlan& plan, StepCapacity capacity, std::vector<std::byte>& out) {
  assert(plan.rows <= capacity.rows && plan.samples <= capacity.samples);
  const ops::StepLayout layout = ops::step_layout(capacity.rows, capacity.samples);
  ops::StepHeader header{plan.rows, plan.samples, 0, 0};
  for (const PlannedRows& part : plan.parts) {
    header.num_pages += static_cast<uint32_t>(part.pages.size());
    if (part.samples) header.num_biases += static_cast<uint32_t>(biases_of(part).size());
  }
  const uint64_t biases_at = ops::biases_offset(layout, header.num_pages);
  out.assign(biases_at + header.num_biases * sizeof(ops::LogitBias), std::byte{0});
  put(out, 0, header);

  uint32_t row = 0;
  uint32_t sample = 0;
  uint32_t page = 0;
  uint32_t bias = 0;
  for (const PlannedRows& part : plan.parts) {
    for (uint32_t i = 0; i < part.count; ++i) {
      put(out, layout.rows_offset + (row + i) * sizeof(ops::StepRow),
          make_row(part, part.first_position + i, page));
    }
    row += part.count;
    if (part.samples) {
      put(out, layout.samples_offset + sample++ * sizeof(ops::SampleRow),
          make_sample_row(part.sequence->request.sampling, part.sequence->seed, row - 1, part.slot,
                          part.draw_index, bias));
      put_biases(out, biases_at + bias * sizeof(ops::LogitBias), biases_of(part));
      bias += static_cast<uint32_t>(biases_of(part).size());
    }
    std::memcpy(out.data() + layout.pages_offset + page * sizeof(uint32_t), part.pages.data(),
                part.pages.size() * sizeof(uint32_t));
    page += static_cast<uint32_t>(part.pages.size());
  }
}

}  // namespace krserve::engine
