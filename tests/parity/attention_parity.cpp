// rope_kv_write and paged_attention over a paged cache: single rows, runs of rows, and both mixed.
#include <algorithm>
#include <cmath>
#include <map>

#include "kernels/ops/paged_attention.h"
#include "kernels/ops/rope_kv_write.h"
#include "parity/reference.h"

namespace krserve::parity {
namespace {

using ops::FloatType;
using ops::Op;

Bytes repeated(const Bytes& pattern, size_t bytes) {
  Bytes out(bytes);
  for (size_t at = 0; at < bytes; at += pattern.size()) {
    std::memcpy(out.data() + at, pattern.data(), std::min(pattern.size(), bytes - at));
  }
  return out;
}

struct Sequence {
  uint32_t first;  // position of its first row in the step
  uint32_t rows;
};

struct Shape {
  uint32_t heads, kv_heads, head_dim;
  FloatType type;
};

// A step of some sequences over a cache in two segments whose earlier positions hold random values.
struct Step {
  static constexpr uint32_t kPageTokens = 16, kShift = 6, kSegments = 2;
  // Values of a segment before they repeat: a prime, so that pages, heads and rows all differ.
  static constexpr uint32_t kPattern = 10007;
  enum : int { kParams, kQ, kK, kV, kTable, kOut, kSegment0, kSegment1 };

  ops::KvLayout kv{};
  ops::StepLayout layout{};
  Shape shape;
  uint32_t rows = 0;
  std::vector<Content> contents;
  std::vector<OpCall> calls;

  Step(const Shape& of, const std::vector<Sequence>& sequences, uint32_t seed = 3) : shape(of) {
    std::mt19937 random(seed);
    for (const Sequence& s : sequences) rows += s.rows;
    kv = {0, kPageTokens, kShift, of.kv_heads, of.head_dim, of.type, 1};
    kv.page_bytes = 2 * 2 * ops::kv_plane_bytes(kv);
    layout = ops::step_layout(rows, 1);
    contents.push_back({make_params(sequences)});
    const auto floats = [&](size_t count) {
      contents.push_back(Content::of(random_floats(random, count)));
    };
    floats(size_t{rows} * of.heads * of.head_dim);
    floats(size_t{rows} * of.kv_heads * of.head_dim);
    floats(size_t{rows} * of.kv_heads * of.head_dim);
    contents.push_back(Content::of(rotary_table()));
    floats(size_t{rows} * of.heads * of.head_dim);
    for (uint32_t s = 0; s < kSegments; ++s) {
      contents.push_back(
          {repeated(to_type(random_floats(random, kPattern), of.type), kv.page_bytes << kShift)});
    }
    calls.push_back(OpCall::of(Op::kRopeKvWrite,
                               ops::RopeKvWriteArgs{kv, layout, of.heads, 0, 1e-6f},
                               {kParams, kQ, kK, kV, kTable, -1, -1, kSegment0, kSegment1}));
    const float scale = 1.0f / std::sqrt(static_cast<float>(of.head_dim));
    calls.push_back(OpCall::of(Op::kPagedAttention,
                               ops::PagedAttentionArgs{kv, layout, of.heads, scale},
                               {kParams, kQ, kOut, kSegment0, kSegment1}));
  }

  Floats row(const std::vector<Content>& results, uint32_t index) const {
    const Floats all = results[kOut].as<float>();
    const size_t width = size_t{shape.heads} * shape.head_dim;
    return {all.begin() + static_cast<ptrdiff_t>(index * width),
            all.begin() + static_cast<ptrdiff_t>((index + 1) * width)};
  }

 private:
  // Pages of a sequence are scattered; the lists stand in the reverse order of the rows.
  Bytes make_params(const std::vector<Sequence>& sequences) const {
    std::vector<ops::StepRow> step_rows;
    std::vector<uint32_t> pages, begins(sequences.size());
    uint32_t next = 0;
    for (size_t i = sequences.size(); i-- > 0;) {
      begins[i] = static_cast<uint32_t>(pages.size());
      const uint32_t count = (sequences[i].first + sequences[i].rows - 1) / kPageTokens + 1;
      for (uint32_t p = 0; p < count; ++p) pages.push_back(next++ * 37 % (kSegments << kShift));
    }
    for (uint32_t i = 0; i < sequences.size(); ++i) {
      for (uint32_t r = 0; r < sequences[i].rows; ++r) {
        step_rows.push_back({0, sequences[i].first + r, i, begins[i], 0});
      }
    }
    Bytes bytes(layout.pages_offset + pages.size() * sizeof(uint32_t));
    const ops::StepHeader header{rows, 0, static_cast<uint32_t>(pages.size()), 0};
    std::memcpy(bytes.data(), &header, sizeof(header));
    std::memcpy(bytes.data() + layout.rows_offset, step_rows.data(),
                step_rows.size() * sizeof(ops::StepRow));
    std::memcpy(bytes.data() + layout.pages_offset, pages.data(), pages.size() * sizeof(uint32_t));
    return bytes;
  }

  const Floats& rotary_table() const {
    constexpr uint32_t kPositions = 1100;
    static std::map<uint32_t, Floats> tables;  // by head size: sines are slow under sanitizers
    Floats& table = tables[shape.head_dim];
    if (!table.empty()) return table;
    table.resize(size_t{kPositions} * shape.head_dim);
    const uint32_t half = shape.head_dim / 2;
    for (uint32_t i = 0; i < half; ++i) {
      const double frequency = std::pow(10000.0, -2.0 * i / shape.head_dim);
      for (uint32_t p = 0; p < kPositions; ++p) {
        table[size_t{p} * shape.head_dim + i] = static_cast<float>(std::cos(p * frequency));
        table[size_t{p} * shape.head_dim + half + i] = static_cast<float>(std::sin(p * frequency));
      }
    }
    return table;
  }
};

void expect_near(Device& device, const Shape& shape, const std::vector<Sequence>& sequences) {
  const Step step(shape, sequences);
  const auto result = run_calls(device, step.calls, step.contents);
  const auto expected = run_reference(step.calls, step.contents);
  EXPECT_LT(relative_error(result[Step::kQ].as<float>(), expected[Step::kQ].as<float>()), 1e-5);
  EXPECT_LT(relative_error(result[Step::kOut].as<float>(), expected[Step::kOut].as<float>()),
            shape.type == FloatType::kBF16 ? 4e-3 : 1e-3)
      << shape.heads << " heads, " << shape.kv_heads << " kv heads of " << shape.head_dim
      << ", type " << static_cast<int>(shape.type) << ", " << step.rows << " rows";
}

const Shape kShapes[] = {
    {14, 2, 64, FloatType::kF16},  {7, 1, 128, FloatType::kF16}, {4, 4, 64, FloatType::kBF16},
    {6, 2, 128, FloatType::kBF16}, {4, 2, 32, FloatType::kF16},  {2, 1, 64, FloatType::kF32},
    {12, 1, 64, FloatType::kF16},
};

TEST_P(Parity, OneRowIsNearTheReference) {
  for (const Shape& shape : kShapes) {
    for (const uint32_t position : {0U, 1U, 63U, 64U, 200U, 1023U}) {
      expect_near(*device_, shape, {{position, 1}});
    }
  }
}

TEST_P(Parity, ManySequencesAreNearTheReference) {
  for (const Shape& shape : kShapes) {
    expect_near(*device_, shape,
                {{5, 1}, {64, 1}, {0, 1}, {511, 1}, {63, 1}, {300, 1}, {17, 1}, {128, 1}, {2, 1}});
  }
}

TEST_P(Parity, RunsOfRowsAreNearTheReference) {
  for (const Shape& shape : kShapes) {
    expect_near(*device_, shape, {{0, 2}});
    expect_near(*device_, shape, {{0, 100}});
    expect_near(*device_, shape, {{490, 77}});
    expect_near(*device_, shape, {{3, 1}, {0, 19}, {70, 1}, {130, 40}, {9, 1}});
  }
}

// The same queries, as a run and one step each, see the same cache.
TEST_P(Parity, ARowDoesNotDependOnItsCompany) {
  const Shape shapes[] = {{14, 2, 64, FloatType::kF16}, {7, 1, 128, FloatType::kBF16}};
  for (const Shape& shape : shapes) {
    constexpr uint32_t kFirst = 150, kRows = 21;
    const Step run(shape, {{kFirst, kRows}});
    auto together = run_calls(*device_, run.calls, run.contents);
    const size_t q_width = size_t{shape.heads} * shape.head_dim;
    for (uint32_t r = 0; r < kRows; ++r) {
      Step one(shape, {{kFirst + r, 1}});
      const Floats q = together[Step::kQ].as<float>();
      one.contents[Step::kQ] =
          Content::of(Floats(q.begin() + static_cast<ptrdiff_t>(r * q_width),
                             q.begin() + static_cast<ptrdiff_t>((r + 1) * q_width)));
      one.contents[Step::kSegment0] = together[Step::kSegment0];
      one.contents[Step::kSegment1] = together[Step::kSegment1];
      one.calls.erase(one.calls.begin());  // q is rotated and the cache is written already
      const auto alone = run_calls(*device_, one.calls, one.contents);
      EXPECT_EQ(one.row(alone, 0), run.row(together, r)) << "row " << r;
    }
  }
}

}  // namespace
}  // namespace krserve::parity
