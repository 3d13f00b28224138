// StepParams: everything that changes from step to step, in one device buffer filled by the blit
// queue. Kernel arguments stay constant, so a recorded step can be replayed.
//
// Buffer layout: StepHeader | StepRow[row_capacity] | SampleRow[sample_capacity] |
// uint32 pages[num_pages] | LogitBias biases[num_biases].
#pragma once

#include "kernels/dialect/language.h"

namespace krserve::ops {

// Token value of a row that continues its slot: the kernel reads last_token[slot], which the
// previous step wrote on the device.
KR_CONST int32_t kTokenFromSlot = -1;

struct StepHeader {
  uint32_t num_rows;     // token rows in this step, <= row_capacity
  uint32_t num_samples;  // rows that are sampled, <= sample_capacity
  uint32_t num_pages;    // entries of the page list
  uint32_t num_biases;   // entries of the bias list, which begins where the page list ends
};

enum RowFlags : uint32_t {
  // How count_tokens treats a row. Set only for sequences that use penalties.
  kRowClearCounts = 1u << 0,  // zero the slot's token_counts before counting this row
  kRowCountPrompt = 1u << 1,  // the row's explicit token is part of the prompt
  kRowCountOutput = 1u << 2,  // the row's explicit token was output earlier (recomputed sequence)
  kRowCounts = kRowClearCounts | kRowCountPrompt | kRowCountOutput,
  // The row's token is of the prompt: of its role alone, whatever step computes it.
  kRowPrompt = 1u << 3,
};

// One token of one sequence. Rows of a sequence are consecutive and in order of position.
struct StepRow {
  int32_t token;         // token id or kTokenFromSlot
  uint32_t position;     // 0-based position in the sequence; attends to positions 0..position
  uint32_t slot;         // sequence slot: index into last_token and token_counts
  uint32_t pages_begin;  // index of the sequence's first page in the page list
  uint32_t flags;        // RowFlags
};

enum SampleFlags : uint32_t {
  kSampleGreedy = 1u << 0,     // argmax after penalties; temperature, k, p and seed are ignored
  kSamplePenalties = 1u << 1,  // token_counts of the slot is valid and used
};

// One row to sample. Order of operations: logit bias, repetition penalty (prompt and output
// tokens), presence and frequency penalties (output tokens), temperature, min-p, top-k, top-p,
// draw. OpenAI adds the bias to the model's own logits; vLLM too applies the penalties after it.
struct SampleRow {
  uint32_t row;  // index into the step's rows
  uint32_t slot;
  uint32_t flags;    // SampleFlags
  uint32_t counter;  // tokens this sequence has drawn before; with seed, the random key
  uint32_t seed_low;
  uint32_t seed_high;
  float temperature;         // > 0 unless greedy
  uint32_t top_k;            // 0 = off
  float top_p;               // (0, 1]; 1 = off
  float min_p;               // [0, 1); 0 = off
  float repetition_penalty;  // 1 = off
  float presence_penalty;    // 0 = off
  float frequency_penalty;   // 0 = off
  uint32_t biases_begin;     // index of the row's first entry in the bias list
  uint32_t num_biases;       // 0 = off
};

// Added to a logit of one row; no token twice in a row. One outside the vocabulary is skipped.
struct LogitBias {
  uint32_t token;
  float bias;
};

static_assert(sizeof(StepHeader) == 16 && sizeof(StepRow) == 20 && sizeof(SampleRow) == 60,
              "the host and all kernels see the same bytes");
static_assert(sizeof(LogitBias) == 8, "the host and all kernels see the same bytes");

// Byte offsets of the arrays behind the header, fixed by the capacities of a recording.
struct StepLayout {
  uint32_t rows_offset;
  uint32_t samples_offset;
  uint32_t pages_offset;
};

constexpr StepLayout step_layout(uint32_t row_capacity, uint32_t sample_capacity) {
  const uint32_t rows = sizeof(StepHeader);
  const uint32_t samples = rows + row_capacity * static_cast<uint32_t>(sizeof(StepRow));
  const uint32_t pages = samples + sample_capacity * static_cast<uint32_t>(sizeof(SampleRow));
  return {rows, samples, pages};
}

// Byte offset of the bias list behind `pages` page-list entries.
constexpr uint64_t biases_offset(StepLayout layout, uint64_t pages) {
  return layout.pages_offset + pages * sizeof(uint32_t);
}

// token_counts[slot][vocab]: bit 15 = the token is in the prompt, low 15 bits = times it was output
// (saturating).
KR_CONST uint16_t kCountPromptBit = 0x8000;

}  // namespace krserve::ops
