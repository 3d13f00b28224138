// Golden vectors: every op on small fixed inputs, with how near two devices' results must be.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/selftest/op_runs.h"
#include "kernels/ops/step_params.h"

namespace krserve::selftest {

// How a buffer's contents are compared.
enum class Compare {
  kBytes,   // equal
  kTokens,  // int32 of which at most `bound` differ: devices add probabilities in another order
  kF32,     // relative error below `bound`
  kF16,
  kBF16,
};

struct Check {
  int content = 0;
  Compare how = Compare::kBytes;
  double bound = 0;
};

struct Case {
  std::string op;    // "matmul", "copy"
  std::string name;  // the rest: "q4 f16/64 n 65 k 896, 9 rows"
  std::vector<OpCall> calls;
  std::vector<Content> contents;
  std::vector<Check> checks;
};

// kQuick: seconds with validation, and on an emulator.
enum class Extent { kQuick, kAll };

using CaseSink = std::function<void(const Case&)>;

// Each case in turn, made on the way.
void for_each_case(Extent extent, const CaseSink& sink);

// The parts of it.
void copy_cases(Extent extent, const CaseSink& sink);
void matmul_cases(Extent extent, const CaseSink& sink);
void layer_cases(Extent extent, const CaseSink& sink);
void attention_cases(Extent extent, const CaseSink& sink);
void row_cases(Extent extent, const CaseSink& sink);
void sample_cases(Extent extent, const CaseSink& sink);

// The bytes of a step's parameters, with some room behind the rows and the samples.
struct StepRows {
  std::vector<ops::StepRow> rows;
  std::vector<ops::SampleRow> samples;
  std::vector<uint32_t> pages;
  std::vector<ops::LogitBias> biases;

  ops::StepLayout layout() const;
  Content content() const;
};
// Of `rows` rows, for ops that read no more of it.
Content step_header(uint32_t rows);

const char* name_of(ops::WeightFormat format);
const char* name_of(ops::FloatType type);

}  // namespace krserve::selftest
