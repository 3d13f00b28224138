// The SIMT emulator itself: what it computes, and every fault it must find.
#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/dialect/dialect.h"
#include "kernels/kernel_test.h"
#include "kernels/single_source/common.h"

namespace krserve::kernels {
namespace {

class SimtTest : public ::testing::Test {
 protected:
  static void launch(const SimtKernel& kernel, uint32_t groups, uint32_t threads,
                     const std::vector<void*>& buffers, uint64_t seed = 1) {
    DialectParams params{};
    std::copy(buffers.begin(), buffers.end(), params.buffers);
    GpuLaunch launch;
    launch.kernel = &kernel;
    launch.grid.x = groups;
    launch.block.x = threads;
    launch.params_bytes = sizeof(params);
    std::memcpy(launch.params, &params, sizeof(params));
    simt_launch(launch, seed);
  }

  // The fault of a launch, and in `what` its message.
  static SimtFault fault_of(const SimtKernel& kernel, uint32_t threads, std::string& what,
                            uint64_t seed = 1) {
    std::vector<float> out(4096);
    try {
      launch(kernel, 1, threads, {out.data()}, seed);
    } catch (const SimtError& error) {
      what = error.what();
      return error.fault();
    }
    ADD_FAILURE() << kernel.name << " ran without a fault";
    return SimtFault::kBadLaunch;
  }

  static void expect_fault(const SimtKernel& kernel, uint32_t threads, SimtFault fault,
                           const std::string& part_of_message) {
    for (uint64_t seed = 1; seed <= 5; ++seed) {
      std::string what;
      EXPECT_EQ(fault_of(kernel, threads, what, seed), fault) << what;
      EXPECT_NE(what.find(part_of_message), std::string::npos) << what;
      EXPECT_EQ(what.find("[simt." + std::string(kernel.name) + "]"), 0u) << what;
    }
  }
};

KR_KERNEL(half_leaves, 128, {
  if (self.index >= 64) return;
  kr_barrier();
})
KR_KERNEL(one_lane_leaves, 128, {
  if (self.index == 77) return;
  kr_barrier();
})
KR_KERNEL(two_barriers, 128, {
  if (self.simd == 0) {
    kr_barrier();
  } else {
    kr_barrier(__builtin_FILE(), __builtin_LINE() + 1);
  }
})

TEST_F(SimtTest, ABarrierThatSomeThreadsMissIsAFault) {
  expect_fault(half_leaves, 128, SimtFault::kBarrierDivergence, "64 of 128 threads returned");
  expect_fault(one_lane_leaves, 128, SimtFault::kBarrierDivergence, "1 of 128 threads returned");
  expect_fault(two_barriers, 64, SimtFault::kBarrierDivergence, "different barriers");
}

KR_KERNEL(half_sums, 64, {
  if (self.lane < 16) kr_buffer<float>(params, 0)[self.index] = kr_simd_sum(1.0f);
})
KR_KERNEL(half_sums_half_waits, 64, {
  if (self.lane < 16) kr_buffer<float>(params, 0)[self.index] = kr_simd_sum(1.0f);
  kr_barrier();
})
KR_KERNEL(sum_or_max, 64, {
  float* out = kr_buffer<float>(params, 0);
  out[self.index] = self.lane < 31 ? kr_simd_sum(1.0f) : kr_simd_max(1.0f);
})

TEST_F(SimtTest, ASimdOperationThatSomeLanesMissIsAFault) {
  expect_fault(half_sums, 64, SimtFault::kSimdDivergence, "16 of 32 lanes");
  expect_fault(half_sums, 64, SimtFault::kSimdDivergence, "simt_test.cpp:");
  expect_fault(half_sums_half_waits, 64, SimtFault::kSimdDivergence, "16 of 32 lanes");
  expect_fault(sum_or_max, 32, SimtFault::kSimdDivergence, "different operations");
}

KR_KERNEL(writes_behind, 32, {
  KR_SHARED(float, part, 5);
  if (self.index == 9) part[5] = 1.0f;
})
KR_KERNEL(writes_before, 32, {
  KR_SHARED(uint16_t, other, 8);
  KR_SHARED(uint32_t, part, 32);
  other[0] = 1;
  part[static_cast<int>(self.index) - 1] = 0;
})
KR_KERNEL(shares_too_much, 32, {
  KR_SHARED(float, small, 8);
  KR_SHARED(float, large, 8185);
  small[0] = large[0];
})
KR_KERNEL(shares_the_limit, 32, {
  KR_SHARED(float, large, 8192);
  large[256 * self.index] = 0.0f;
})

TEST_F(SimtTest, ThreadgroupArraysAreGuarded) {
  expect_fault(writes_behind, 32, SimtFault::kSharedOverrun, "array part");
  expect_fault(writes_before, 32, SimtFault::kSharedOverrun, "array part");
  expect_fault(shares_too_much, 32, SimtFault::kSharedLimit, "array large");
  launch(shares_the_limit, 2, 32, {});
}

KR_KERNEL(needs_stack, 32, {
  volatile uint8_t large[64 * 1024];
  for (uint32_t i = 0; i < sizeof(large); ++i) large[i] = 1;
})

TEST_F(SimtTest, AStackThatIsTooSmallIsAFault) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer's red zones need more than the spare bytes";
#endif
  expect_fault(needs_stack, 32, SimtFault::kStackOverflow, "65536 bytes");
}

KR_KERNEL(adds_one, 64, { kr_buffer<float>(params, 0)[self.index] += 1.0f; })

TEST_F(SimtTest, LaunchesOfOtherThanWholeSimdgroupsAreRefused) {
  expect_fault(adds_one, 48, SimtFault::kBadLaunch, "48 threads");
  expect_fault(adds_one, 96, SimtFault::kBadLaunch, "at most 64");
  expect_fault(adds_one, 0, SimtFault::kBadLaunch, "0 threads");
  // What went wrong before does not matter to the next launch.
  std::vector<float> out(64, 0.0f);
  launch(adds_one, 3, 64, {out.data()});
  EXPECT_EQ(out, std::vector<float>(64, 3.0f));
}

KR_KERNEL(reads_first, 32, {
  KR_SHARED(float, floats, 32);
  KR_SHARED(kr_half, halves, 32);
  KR_SHARED(kr_bfloat, bfloats, 32);
  float* out = kr_buffer<float>(params, 0) + 96 * self.group_x;
  out[self.index] = floats[self.index];
  out[32 + self.index] = kr_f32(halves[self.index]);
  out[64 + self.index] = kr_f32(bfloats[self.index]);
  floats[self.index] = 1.0f;
  halves[self.index] = kr_h16(1.0f);
  bfloats[self.index] = kr_bf16(1.0f);
})

TEST_F(SimtTest, ThreadgroupMemoryBeginsAsNanInEveryThreadgroup) {
  std::vector<float> out(4 * 96, 0.0f);
  launch(reads_first, 4, 32, {out.data()});
  for (const float value : out) EXPECT_TRUE(std::isnan(value));
}

KR_KERNEL(rotates, 128, {
  KR_SHARED(uint32_t, part, 128);
  part[self.index] = self.index;
  if (*kr_buffer<const uint32_t>(params, 1) != 0) kr_barrier();
  kr_buffer<uint32_t>(params, 0)[self.index] = part[(self.index + 1) % self.count];
})
KR_KERNEL(rotates_lanes, 32, {
  KR_SHARED(uint32_t, part, 32);
  part[self.lane] = self.lane;
  if (*kr_buffer<const uint32_t>(params, 1) != 0) kr_simd_barrier();
  kr_buffer<uint32_t>(params, 0)[self.lane] = part[(self.lane + 1) % kLanes];
})

TEST_F(SimtTest, AMissingBarrierShowsUnderEverySeed) {
  const auto wrong = [](const SimtKernel& kernel, uint32_t threads, uint32_t barrier,
                        uint64_t seed) {
    std::vector<uint32_t> out(threads);
    launch(kernel, 1, threads, {out.data(), &barrier}, seed);
    uint32_t count = 0;
    for (uint32_t i = 0; i < threads; ++i) count += out[i] != (i + 1) % threads;
    return count;
  };
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    EXPECT_GT(wrong(rotates, 128, 0, seed), 0u);
    EXPECT_EQ(wrong(rotates, 128, 1, seed), 0u);
    EXPECT_GT(wrong(rotates_lanes, 32, 0, seed), 0u);
    EXPECT_EQ(wrong(rotates_lanes, 32, 1, seed), 0u);
  }
}

KR_KERNEL(takes_tickets, 64, {
  if (self.lane == 0) {
    const uint32_t ticket = kr_atomic_add(kr_buffer<uint32_t>(params, 1), 1);
    kr_buffer<uint32_t>(params, 0)[ticket] = self.group_x * 2 + self.simd;
  }
})

TEST_F(SimtTest, TheSeedOrdersThreadgroupsAndSimdgroups) {
  std::set<std::vector<uint32_t>> orders;
  for (const uint64_t seed : {1u, 2u, 3u, 4u, 5u, 1u}) {
    std::vector<uint32_t> order(40);
    uint32_t tickets = 0;
    launch(takes_tickets, 20, 64, {order.data(), &tickets}, seed);
    orders.insert(order);
    std::sort(order.begin(), order.end());
    for (uint32_t i = 0; i < 40; ++i) EXPECT_EQ(order[i], i);
  }
  EXPECT_EQ(orders.size(), 5u);  // the same seed, the same order
}

KR_KERNEL(last_adds_up, 64, {
  KR_SHARED(uint32_t, part, 32);
  float* sums = kr_buffer<float>(params, 0);
  if (self.index == 0) sums[self.group_x] = static_cast<float>(self.group_x + 1);
  uint32_t* counter = kr_buffer<uint32_t>(params, 2);
  if (!single_source::last_to_arrive(self, part, counter, self.groups_x)) return;
  float total = 0.0f;
  for (uint32_t g = self.lane; g < self.groups_x; g += kLanes) total += sums[g];
  total = kr_simd_sum(total);
  if (self.index == 0) *kr_buffer<float>(params, 1) += total;
})

TEST_F(SimtTest, TheLastThreadgroupSeesAllOthersInAnyOrder) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    std::vector<float> sums(77, NAN);
    float total = 0;
    uint32_t counter = 0;
    launch(last_adds_up, 77, 64, {sums.data(), &total, &counter}, seed);
    EXPECT_EQ(total, 77.0f * 78 / 2);
    EXPECT_EQ(counter, 0u);
  }
}

// Results of each operation, 32 of each, for values of the lane.
KR_KERNEL(all_operations, 64, {
  if (self.simd != 1) return;  // the other simdgroup does without
  float* f = kr_buffer<float>(params, 0);
  uint32_t* u = kr_buffer<uint32_t>(params, 1);
  uint64_t* w = kr_buffer<uint64_t>(params, 2);
  const uint32_t lane = self.lane;
  f[lane] = kr_simd_sum(static_cast<float>(lane));
  f[32 + lane] = kr_simd_max(lane == 5 ? kr_float_of_bits(0x7fc00000u) : -static_cast<float>(lane));
  f[64 + lane] = kr_shuffle_xor(static_cast<float>(lane), 9);
  u[lane] = kr_simd_sum(0x10000000u + lane);
  u[32 + lane] = kr_simd_max(lane ^ 21u);
  u[64 + lane] = kr_simd_min(lane ^ 21u);
  u[96 + lane] = kr_shuffle_up(lane, 3);
  w[lane] = kr_simd_sum(uint64_t{lane} << 40);
  w[32 + lane] = kr_shuffle_up(uint64_t{lane} << 40, 16);
  w[64 + lane] = kr_shuffle_xor(uint64_t{lane} << 40, 16);
})

TEST_F(SimtTest, SimdOperationsComputeWhatTheySay) {
  std::vector<float> f(96);
  std::vector<uint32_t> u(128);
  std::vector<uint64_t> w(96);
  launch(all_operations, 1, 64, {f.data(), u.data(), w.data()}, 3);
  for (uint32_t lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(f[lane], 496.0f);
    EXPECT_EQ(f[32 + lane], 0.0f);
    EXPECT_EQ(f[64 + lane], static_cast<float>(lane ^ 9u));
    EXPECT_EQ(u[lane], 496u);  // modulo 2^32
    EXPECT_EQ(u[32 + lane], 31u);
    EXPECT_EQ(u[64 + lane], 0u);
    EXPECT_EQ(u[96 + lane], lane < 3 ? lane : lane - 3);
    EXPECT_EQ(w[lane], uint64_t{496} << 40);
    EXPECT_EQ(w[32 + lane], uint64_t{lane < 16 ? lane : lane - 16} << 40);
    EXPECT_EQ(w[64 + lane], uint64_t{lane ^ 16u} << 40);
  }
}

KR_KERNEL(sums_twice, 32, {
  const float* in = kr_buffer<const float>(params, 0);
  float* out = kr_buffer<float>(params, 1);
  out[self.lane] = kr_simd_sum(in[self.lane]);
  float value = in[self.lane];
  for (uint32_t mask = 16; mask > 0; mask /= 2) value += kr_shuffle_xor(value, mask);
  out[32 + self.lane] = value;
})

TEST_F(SimtTest, SumsAreThoseOfAButterflyBitForBit) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (int round = 0; round < 50; ++round) {
    std::vector<float> in(32), out(64);
    for (float& value : in) value = normal(random);
    launch(sums_twice, 1, 32, {in.data(), out.data()});
    for (const float value : out) ASSERT_EQ(value, out[0]);
  }
}

constexpr uint32_t kStride = 12;  // of the matrices below

// c = a * transposed(b) + c, by each simdgroup
KR_KERNEL(multiplies, 64, {
  KR_SHARED(float, a_tile, 8 * kStride);
  KR_SHARED(float, b_tile, 8 * kStride);
  KR_SHARED(float, c_tile, 2 * 8 * kStride);
  const float* in = kr_buffer<const float>(params, 0);
  float* out = kr_buffer<float>(params, 1);
  for (uint32_t i = self.index; i < 64; i += self.count) {
    a_tile[i / 8 * kStride + i % 8] = in[i];
    b_tile[i / 8 * kStride + i % 8] = in[64 + i];
  }
  kr_barrier();
  kr_matrix8x8 a, b, c;
  kr_matrix_load(a, a_tile, kStride, false);
  kr_matrix_load(b, b_tile, kStride, true);
  kr_matrix_fill(c, static_cast<float>(self.simd));
  kr_matrix_multiply_add(c, a, b);
  kr_matrix_multiply_add(c, a, b);
  kr_matrix_store(c, c_tile + self.simd * 8 * kStride, kStride);
  kr_barrier();
  for (uint32_t i = self.index; i < 128; i += self.count) {
    out[i] = c_tile[i / 8 * kStride + i % 8];
  }
})

TEST_F(SimtTest, MatricesMultiplyInTheOrderOfKUnderEverySeed) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> in(128), out(128);
  for (float& value : in) value = normal(random);
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    launch(multiplies, 1, 64, {in.data(), out.data()}, seed);
    for (uint32_t i = 0; i < 128; ++i) {
      float sum = static_cast<float>(i / 64);
      for (uint32_t k = 0; k < 16; ++k) {
        sum = std::fma(in[i / 8 % 8 * 8 + k % 8], in[64 + i % 8 * 8 + k % 8], sum);
      }
      ASSERT_EQ(out[i], sum) << "element " << i << ", seed " << seed;
    }
  }
}

KR_KERNEL(half_multiplies, 32, {
  kr_matrix8x8 a;
  kr_matrix_fill(a, 1.0f);
  if (self.lane < 16) kr_matrix_multiply_add(a, a, a);
})
KR_KERNEL(fills_with_lanes, 32, {
  kr_matrix8x8 a;
  kr_matrix_fill(a, static_cast<float>(self.lane));
})
KR_KERNEL(loads_two, 32, {
  KR_SHARED(float, tile, 128);
  kr_matrix8x8 a;
  kr_matrix_load(a, tile + self.lane / 16 * 64, 8, false);
})
KR_KERNEL(stores_two_strides, 32, {
  KR_SHARED(float, tile, 128);
  kr_matrix8x8 a;
  kr_matrix_fill(a, 1.0f);
  kr_matrix_store(a, tile, self.lane == 3 ? 16 : 8);
})
KR_KERNEL(stores_behind, 32, {
  KR_SHARED(float, tile, 60);
  kr_matrix8x8 a;
  kr_matrix_fill(a, 1.0f);
  kr_matrix_store(a, tile, 8);
})

TEST_F(SimtTest, AMatrixIsTheWholeSimdgroups) {
  expect_fault(half_multiplies, 32, SimtFault::kSimdDivergence, "16 of 32 lanes");
  expect_fault(fills_with_lanes, 32, SimtFault::kSimdDivergence, "different matrices");
  expect_fault(loads_two, 32, SimtFault::kSimdDivergence, "different matrices");
  expect_fault(stores_two_strides, 32, SimtFault::kSimdDivergence, "different matrices");
  expect_fault(stores_behind, 32, SimtFault::kSharedOverrun, "array tile");
}

// Lanes put the tile there, and take it away again, with or without barriers.
KR_KERNEL(passes_matrix, 32, {
  KR_SHARED(float, tile, 64);
  const uint32_t barriers = *kr_buffer<const uint32_t>(params, 1);
  for (uint32_t i = self.lane; i < 64; i += kLanes) tile[i] = static_cast<float>(i);
  if ((barriers & 1) != 0) kr_simd_barrier();
  kr_matrix8x8 a;
  kr_matrix_load(a, tile, 8, true);
  kr_simd_barrier();
  for (uint32_t i = self.lane; i < 64; i += kLanes) tile[i] = -1.0f;
  kr_simd_barrier();
  kr_matrix_store(a, tile, 8);
  if ((barriers & 2) != 0) kr_simd_barrier();
  for (uint32_t i = self.lane; i < 64; i += kLanes) kr_buffer<float>(params, 0)[i] = tile[i];
})
// What no kernel may do: elements by their lane.
KR_KERNEL(looks_into_matrix, 32, {
  KR_SHARED(float, tile, 64);
  for (uint32_t i = self.lane; i < 64; i += kLanes) tile[i] = static_cast<float>(i);
  kr_simd_barrier();
  kr_matrix8x8 a;
  kr_matrix_load(a, tile, 8, false);
  kr_buffer<float>(params, 0)[self.lane] = a.of_emulator(0);
})

TEST_F(SimtTest, AMissingBarrierBesideAMatrixShows) {
  for (uint32_t barriers = 0; barriers < 4; ++barriers) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      std::vector<float> out(64);
      launch(passes_matrix, 1, 32, {out.data(), &barriers}, seed);
      uint32_t wrong = 0;
      for (uint32_t i = 0; i < 64; ++i) wrong += out[i] != static_cast<float>(i % 8 * 8 + i / 8);
      EXPECT_EQ(wrong == 0, barriers == 3) << barriers << ", seed " << seed;
    }
  }
}

TEST_F(SimtTest, WhichLaneHasWhichElementsDiffersFromSeedToSeed) {
  std::set<std::vector<float>> seen;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    std::vector<float> out(32);
    launch(looks_into_matrix, 1, 32, {out.data()}, seed);
    seen.insert(out);
  }
  EXPECT_EQ(seen.size(), 10u);
}

TEST(SimtFloats, HalvesConvertAsTheReferenceDoes) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const float expected = half_to_float(static_cast<uint16_t>(bits));
    const float actual = kr_f32(static_cast<kr_half>(bits));
    ASSERT_TRUE(std::isnan(expected) ? std::isnan(actual) : expected == actual) << bits;
  }
  std::mt19937 random(7);
  for (int i = 0; i < 200000; ++i) {
    // All exponents around those of halves, and ties.
    uint32_t bits = (100u + random() % 48) << 23 | (random() & 0x807fffffu);
    if (i % 3 == 0) bits &= 0xfffff000u;
    const float value = kr_float_of_bits(bits);
    ASSERT_EQ(static_cast<uint16_t>(kr_h16(value)), float_to_half(value)) << value;
    ASSERT_EQ(static_cast<uint16_t>(kr_bf16(value)), float_to_bf16(value)) << value;
  }
}

TEST(SimtFloats, SmallIntegersConvertExactly) {
  for (uint32_t value = 0; value < 1u << 23; value += 1 + value / 100) {
    ASSERT_EQ(kr_small_f32(value), static_cast<float>(value));
  }
}

}  // namespace
}  // namespace krserve::kernels
