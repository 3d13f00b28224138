// Keeps the most likely candidates without sorting: a radix selection on the bits of the weights.
#pragma once

#include "kernels/tuned/cpu/vec.h"

namespace krserve::kernels::KR_CPU_ISA {

// Weights are positive floats, so their bits order as they do.
struct Candidate {
  float weight;
  uint32_t id;
  uint32_t bits() const { return bit_as<uint32_t>(weight); }
};

enum class Measure { kCount, kMass };

// Where a selection ends: all candidates above `bits` and the first `ties` equal to it.
struct Cut {
  uint32_t bits;
  size_t ties;
};

// The cut of the shortest prefix, in order of weight (highest first), then id, whose count or mass
// reaches `target`. Candidates are in order of id. Without enough of them the cut keeps all.
template <Measure kMeasure>
inline Cut find_cut(const Candidate* candidates, size_t count, double target) {
  constexpr uint32_t kShift[] = {21, 10, 0};
  constexpr uint32_t kBits[] = {11, 11, 10};
  double above = 0;  // measure of what lies above the current prefix of bits
  uint32_t prefix = 0, mask = 0;
  for (int level = 0; level < 3; ++level) {
    double histogram[1u << 11] = {};
    const uint32_t buckets = 1u << kBits[level];
    for (size_t i = 0; i < count; ++i) {
      const uint32_t bits = candidates[i].bits();
      if ((bits & mask) != prefix) continue;
      histogram[(bits >> kShift[level]) & (buckets - 1)] +=
          kMeasure == Measure::kCount ? 1.0 : static_cast<double>(candidates[i].weight);
    }
    uint32_t cut = buckets;  // the bucket that reaches the target, or else the last that holds any
    for (uint32_t bucket = buckets; bucket-- > 0;) {
      if (histogram[bucket] == 0) continue;
      if (cut != buckets) above += histogram[cut];
      cut = bucket;
      if (above + histogram[bucket] >= target) break;
    }
    if (cut == buckets) return {0, count};
    // Deeper levels may miss the target by rounding alone.
    if (level == 0 && above + histogram[cut] < target) return {0, count};
    prefix |= cut << kShift[level];
    mask |= (buckets - 1) << kShift[level];
  }
  const double each =
      kMeasure == Measure::kCount ? 1.0 : static_cast<double>(bit_as<float>(prefix));
  size_t ties = 1;
  while (ties < count && above + each * static_cast<double>(ties) < target) ++ties;
  return {prefix, ties};
}

// Drops in place what the cut does not keep; returns how many stay.
inline size_t apply_cut(Candidate* candidates, size_t count, Cut cut) {
  size_t kept = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t bits = candidates[i].bits();
    if (bits < cut.bits) continue;
    if (bits == cut.bits) {
      if (cut.ties == 0) continue;
      --cut.ties;
    }
    candidates[kept++] = candidates[i];
  }
  return kept;
}

}  // namespace krserve::kernels::KR_CPU_ISA
