// Finds, without sorting, where the most likely tokens of a row end: those whose count, or whose
// mass, first reaches a target.
//
// Masses are fixed-point integers, so a sum does not depend on the order in which threads add to
// it, nor does what is selected. Tokens are in order of logit, highest first, then id. Histograms
// narrow the end down to a few candidates, one digit of that order at a time; those are ranked
// against each other.
#pragma once

#include "kernels/single_source/common.h"
#include "kernels/single_source/philox.h"

namespace krserve::kernels::single_source {

KR_CONST uint32_t kBuckets = 2048;
KR_CONST uint32_t kMaxCandidates = 512;
KR_CONST uint32_t kDigits = 6;
// Histogram: counts, then the low and the high words of masses. The candidates' keys, ids and
// masses take its place.
KR_CONST uint32_t kSampleTableWords = 3 * kBuckets;
// Words of threadgroup memory for scans and results, after kMaxSimds * 2 of the scan's own.
KR_CONST uint32_t kResultWords = 64;
KR_CONST uint32_t kSamplePartWords = 2 * kMaxSimds + kResultWords;

// Floats in the order of unsigned integers. A NaN is above infinity; -0 is 0.
KR_FN uint32_t order_key(float value) {
  if (value != value) return ~0u;
  const uint32_t bits = kr_bits_of_float(value == 0.0f ? 0.0f : value);
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}
KR_FN float float_of_key(uint32_t key) {
  return kr_float_of_bits((key >> 31) != 0 ? key & 0x7fffffffu : ~key);
}

// What turns a row's logits into masses: exp((logit - peak) / temperature) * 2^44, 0 below min_p.
// A sum over 2^18 tokens fits 64 bits by far; a mass of 0 is one the draw could not hit.
struct Weighing {
  float peak;
  float temperature;
  float min_p;
};

KR_CONST float kMassUnit = 17592186044416.0f;  // 2^44

struct Token {
  uint64_t mass;
  uint32_t key;
  float exponent;  // (logit - peak) / temperature
};

KR_FN Token weigh(KR_THREAD const Weighing& how, float logit) {
  Token token;
  token.exponent = kr_divide(logit - how.peak, how.temperature);
  const float weight = kr_exp(token.exponent);
  token.mass = weight >= how.min_p ? static_cast<uint64_t>(weight * kMassUnit) : 0;
  token.key = order_key(logit);
  return token;
}

// The last token that is kept.
struct Cut {
  uint32_t key;
  uint32_t id;
};

KR_FN bool precedes(uint32_t key, uint32_t id, uint32_t other_key, uint32_t other_id) {
  return key > other_key || (key == other_key && id < other_id);
}
KR_FN bool is_kept(KR_THREAD const Cut& cut, uint32_t key, uint32_t id) {
  return !precedes(cut.key, cut.id, key, id);
}

// A token's digit: its place in the order, coarse to fine. The first is linear in the exponent,
// which spreads the likely tokens over many buckets; masses end at exponents of -31.
KR_FN uint32_t digit_of(uint32_t digit, KR_THREAD const Token& token, uint32_t id) {
  if (digit == 0) return kr_min(static_cast<uint32_t>(token.exponent * -64.0f), kBuckets - 1);
  if (digit == 1) return (~token.key) >> 21;
  if (digit == 2) return ((~token.key) >> 10) & 2047u;
  if (digit == 3) return (~token.key) & 1023u;
  return digit == 4 ? id >> 11 : id & 2047u;
}

// A row of logits as the selection sees it; `cut` is what an earlier one has kept.
struct Row {
  KR_COHERENT const float* logits;
  uint32_t vocab;
  Weighing how;
  Cut cut;
};

// Whether the token counts, and shares its first `digits` digits with those at `prefix`.
KR_FN bool matches(KR_THREAD const Row& row, KR_THREAD const Token& token, uint32_t id,
                   KR_TG const uint32_t* prefix, uint32_t digits) {
  if (token.mass == 0 || !is_kept(row.cut, token.key, id)) return false;
  for (uint32_t d = 0; d < digits; ++d) {
    if (digit_of(d, token, id) != prefix[d]) return false;
  }
  return true;
}

// Sum over the threads before this one; *total gets that over all. `part`: 2 * kMaxSimds words.
KR_FN uint64_t group_scan(KR_THREAD const KrThread& self, KR_TG uint32_t* part, uint64_t value,
                          KR_THREAD uint64_t* total) {
  uint64_t inclusive = value;
  for (uint32_t delta = 1; delta < kLanes; delta *= 2) {
    const uint64_t below = kr_shuffle_up(inclusive, delta);
    if (self.lane >= delta) inclusive += below;
  }
  if (self.lane == kLanes - 1) {
    part[2 * self.simd] = static_cast<uint32_t>(inclusive);
    part[2 * self.simd + 1] = static_cast<uint32_t>(inclusive >> 32);
  }
  kr_barrier();
  uint64_t before = 0, all = 0;
  for (uint32_t s = 0; s < self.simds; ++s) {
    const uint64_t sum = static_cast<uint64_t>(part[2 * s + 1]) << 32 | part[2 * s];
    if (s < self.simd) before += sum;
    all += sum;
  }
  kr_barrier();
  *total = all;
  return before + inclusive - value;
}

// Threadgroup memory of the selection.
struct SampleMemory {
  KR_TG uint32_t* table;   // kSampleTableWords
  KR_TG uint32_t* scan;    // 2 * kMaxSimds
  KR_TG uint32_t* result;  // kResultWords; the first kDigits are the prefix
};
KR_CONST uint32_t kFoundBucket = kDigits;      // kBuckets when there is none
KR_CONST uint32_t kFoundBefore = kDigits + 1;  // two words
KR_CONST uint32_t kListSize = kDigits + 3;
KR_CONST uint32_t kCutKey = kDigits + 4;
KR_CONST uint32_t kCutId = kDigits + 5;
KR_CONST uint32_t kDrawnToken = kDigits + 6;

KR_FN void clear_table(KR_THREAD const KrThread& self, KR_THREAD const SampleMemory& memory) {
  for (uint32_t i = self.index; i < kSampleTableWords; i += self.count) memory.table[i] = 0;
  kr_barrier();
}

// Adds to a mass in the table. Its words are added to one by one; what carries is exact whatever
// the order.
KR_FN void add_mass(KR_THREAD const SampleMemory& memory, uint32_t bucket, uint64_t mass) {
  const uint32_t low = static_cast<uint32_t>(mass);
  const uint32_t former = kr_atomic_add(memory.table + kBuckets + bucket, low);
  const uint32_t carry = former + low < low ? 1 : 0;
  const uint32_t high = static_cast<uint32_t>(mass >> 32) + carry;
  if (high != 0) kr_atomic_add(memory.table + 2 * kBuckets + bucket, high);
}

KR_FN uint64_t entry_of(KR_THREAD const SampleMemory& memory, uint32_t bucket, bool by_mass) {
  if (!by_mass) return memory.table[bucket];
  return static_cast<uint64_t>(memory.table[2 * kBuckets + bucket]) << 32 |
         memory.table[kBuckets + bucket];
}

// Finds the bucket with before <= at < before + entry, `before` being the sum of the entries ahead
// of it; leaves both in `result`. The table must be complete; returns the sum of all entries.
KR_FN uint64_t sum_table(KR_THREAD const KrThread& self, KR_THREAD const SampleMemory& memory,
                         bool by_mass, KR_THREAD uint64_t* before) {
  const uint32_t each = kBuckets / self.count;
  uint64_t sum = 0, total = 0;
  for (uint32_t i = 0; i < each; ++i) sum += entry_of(memory, self.index * each + i, by_mass);
  *before = group_scan(self, memory.scan, sum, &total);
  return total;
}
KR_FN void find_bucket(KR_THREAD const KrThread& self, KR_THREAD const SampleMemory& memory,
                       bool by_mass, uint64_t before, uint64_t at) {
  const uint32_t each = kBuckets / self.count;
  if (self.index == 0) memory.result[kFoundBucket] = kBuckets;
  kr_barrier();
  for (uint32_t i = 0; i < each; ++i) {
    const uint64_t entry = entry_of(memory, self.index * each + i, by_mass);
    if (before <= at && at - before < entry) {
      memory.result[kFoundBucket] = self.index * each + i;
      memory.result[kFoundBefore] = static_cast<uint32_t>(before);
      memory.result[kFoundBefore + 1] = static_cast<uint32_t>(before >> 32);
    }
    before += entry;
  }
  kr_barrier();
}
KR_FN uint64_t found_before(KR_THREAD const SampleMemory& memory) {
  return static_cast<uint64_t>(memory.result[kFoundBefore + 1]) << 32 | memory.result[kFoundBefore];
}

// The histogram of the tokens that share the prefix, by their next digit.
KR_FN void fill_table(KR_THREAD const KrThread& self, KR_THREAD const Row& row,
                      KR_THREAD const SampleMemory& memory, uint32_t digit, bool by_mass) {
  clear_table(self, memory);
  KR_UNROLL_BY(4)
  for (uint32_t id = self.index; id < row.vocab; id += self.count) {
    const Token token = weigh(row.how, row.logits[id]);
    if (!matches(row, token, id, memory.result, digit)) continue;
    const uint32_t bucket = digit_of(digit, token, id);
    kr_atomic_add(memory.table + bucket, 1);
    if (by_mass) add_mass(memory, bucket, token.mass);
  }
  kr_barrier();
}

// Lists the tokens that share `digits` digits, in no order; the table is used up.
KR_FN uint32_t list_candidates(KR_THREAD const KrThread& self, KR_THREAD const Row& row,
                               KR_THREAD const SampleMemory& memory, uint32_t digits) {
  if (self.index == 0) memory.result[kListSize] = 0;
  kr_barrier();
  KR_UNROLL_BY(4)
  for (uint32_t id = self.index; id < row.vocab; id += self.count) {
    const Token token = weigh(row.how, row.logits[id]);
    if (!matches(row, token, id, memory.result, digits)) continue;
    const uint32_t at = kr_atomic_add(memory.result + kListSize, 1);
    memory.table[at] = token.key;
    memory.table[kMaxCandidates + at] = id;
    memory.table[2 * kMaxCandidates + at] = static_cast<uint32_t>(token.mass);
    memory.table[3 * kMaxCandidates + at] = static_cast<uint32_t>(token.mass >> 32);
  }
  kr_barrier();
  return memory.result[kListSize];
}

KR_FN uint64_t candidate_measure(KR_THREAD const SampleMemory& memory, uint32_t i, bool by_mass) {
  if (!by_mass) return 1;
  return static_cast<uint64_t>(memory.table[3 * kMaxCandidates + i]) << 32 |
         memory.table[2 * kMaxCandidates + i];
}

// Among the candidates, the one with before <= at < before + its measure.
KR_FN Cut rank_candidates(KR_THREAD const KrThread& self, KR_THREAD const SampleMemory& memory,
                          uint32_t count, bool by_mass, uint64_t at) {
  for (uint32_t i = self.index; i < count; i += self.count) {
    const uint32_t key = memory.table[i], id = memory.table[kMaxCandidates + i];
    uint64_t before = 0;
    for (uint32_t j = 0; j < count; ++j) {
      if (precedes(memory.table[j], memory.table[kMaxCandidates + j], key, id)) {
        before += candidate_measure(memory, j, by_mass);
      }
    }
    if (before <= at && at - before < candidate_measure(memory, i, by_mass)) {
      memory.result[kCutKey] = key;
      memory.result[kCutId] = id;
    }
  }
  kr_barrier();
  Cut cut;
  cut.key = memory.result[kCutKey];
  cut.id = memory.result[kCutId];
  return cut;
}

// The cut after the shortest prefix whose count reaches `target` or, by mass, whose mass reaches
// target / 2^40 of the whole. Without that many tokens it keeps all that are.
KR_FN Cut select(KR_THREAD const KrThread& self, KR_THREAD const Row& row,
                 KR_THREAD const SampleMemory& memory, bool by_mass, uint64_t target) {
  uint64_t at = target - 1;  // of the measure, what the cut's own interval holds
  for (uint32_t digit = 0; digit < kDigits; ++digit) {
    fill_table(self, row, memory, digit, by_mass);
    uint64_t before = 0;
    const uint64_t total = sum_table(self, memory, by_mass, &before);
    if (digit == 0 && by_mass) at = scaled_product(total, target, 40, true) - 1;
    if (digit == 0 && at >= total) return row.cut;
    find_bucket(self, memory, by_mass, before, at);
    const uint32_t bucket = memory.result[kFoundBucket];
    const uint32_t count = memory.table[bucket];
    at -= found_before(memory);
    if (self.index == 0) memory.result[digit] = bucket;
    kr_barrier();
    if (count <= kMaxCandidates) {
      const uint32_t listed = list_candidates(self, row, memory, digit + 1);
      return rank_candidates(self, memory, listed, by_mass, at);
    }
  }
  return row.cut;  // not reached: the last digit tells all tokens apart
}

}  // namespace krserve::kernels::single_source
