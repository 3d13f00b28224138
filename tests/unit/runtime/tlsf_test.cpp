#include "runtime/memory_pool/tlsf.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <random>

#include "base/units.h"

namespace krserve::runtime {
namespace {

// What a correct allocator has handed out: live ranges by offset.
class Model {
 public:
  explicit Model(uint64_t size) : size_(size) {}

  void add(const Tlsf::Block& block) {
    ASSERT_LE(block.offset + block.bytes, size_);
    const auto next = live_.lower_bound(block.offset);
    if (next != live_.end()) {
      ASSERT_LE(block.offset + block.bytes, next->first) << "overlaps the next";
    }
    if (next != live_.begin()) {
      const auto previous = std::prev(next);
      ASSERT_LE(previous->first + previous->second.bytes, block.offset) << "overlaps the previous";
    }
    live_[block.offset] = block;
    live_bytes_ += block.bytes;
  }
  Tlsf::Block take(uint64_t nth) {
    const auto it = std::next(live_.begin(), static_cast<long>(nth));
    const Tlsf::Block block = it->second;
    live_bytes_ -= block.bytes;
    live_.erase(it);
    return block;
  }
  uint64_t largest_gap() const {
    uint64_t at = 0;
    uint64_t largest = 0;
    for (const auto& [offset, block] : live_) {
      largest = std::max(largest, offset - at);
      at = offset + block.bytes;
    }
    return std::max(largest, size_ - at);
  }
  uint64_t live() const { return live_.size(); }
  uint64_t live_bytes() const { return live_bytes_; }

 private:
  uint64_t size_;
  uint64_t live_bytes_ = 0;
  std::map<uint64_t, Tlsf::Block> live_;
};

struct RandomCase {
  uint64_t size;
  uint64_t granularity;
  uint64_t largest_request;
  uint64_t target_live;
};

class TlsfRandom : public ::testing::TestWithParam<RandomCase> {};

TEST_P(TlsfRandom, AgreesWithASimpleModel) {
  const RandomCase& c = GetParam();
  std::mt19937_64 random(42);
  Tlsf tlsf(c.size, c.granularity);
  Model model(c.size);
  for (int i = 0; i < 50000; ++i) {
    const bool allocate = model.live() == 0 || random() % (2 * c.target_live) >= model.live();
    if (allocate && random() % 8 == 0) {
      const uint64_t bytes = 1 + random() % (1 + c.largest_request / 64);
      std::array<Tlsf::Block, 16> run;
      const auto count = static_cast<uint32_t>(1 + random() % run.size());
      const uint32_t taken = tlsf.allocate_run(bytes, count, run.data());
      ASSERT_LE(taken, count);
      for (uint32_t n = 0; n < taken; ++n) {
        ASSERT_EQ(run[n].bytes, align_up(bytes, c.granularity));
        ASSERT_TRUE(tlsf.is_live(run[n].id, run[n].bytes));
        ASSERT_NO_FATAL_FAILURE(model.add(run[n]));
      }
    } else if (allocate) {
      // Sizes of every order of magnitude.
      const uint64_t bytes =
          1 + random() % (1 + (c.largest_request - 1) / (uint64_t{1} << random() % 16));
      const auto block = tlsf.allocate(bytes);
      if (!block) {
        const uint64_t rounded = align_up(bytes, c.granularity);
        ASSERT_LT(model.largest_gap(), rounded + rounded / 32 + c.granularity)
            << "refused " << bytes << " bytes that fit well";
        continue;
      }
      ASSERT_GE(block->bytes, bytes);
      ASSERT_LT(block->bytes, bytes + c.granularity);
      ASSERT_EQ(block->offset % c.granularity, 0U);
      ASSERT_NO_FATAL_FAILURE(model.add(*block));
    } else {
      tlsf.free(model.take(random() % model.live()).id);
    }
    ASSERT_EQ(tlsf.live_blocks(), model.live());
    ASSERT_EQ(tlsf.free_bytes() + model.live_bytes(), c.size);
    if (i % 500 == 0) {
      ASSERT_TRUE(tlsf.check_integrity()) << "operation " << i;
      ASSERT_EQ(tlsf.largest_free_bytes(), model.largest_gap());
    }
  }
  while (model.live() > 0) tlsf.free(model.take(random() % model.live()).id);
  EXPECT_TRUE(tlsf.check_integrity());
  EXPECT_EQ(tlsf.largest_free_bytes(), c.size) << "coalesced to one block";
}

INSTANTIATE_TEST_SUITE_P(Sizes, TlsfRandom,
                         ::testing::Values(RandomCase{1 << 20, 64, 1 << 18, 50},
                                           RandomCase{256 << 20, 256, 64 << 20, 300},
                                           RandomCase{1 << 16, 1, 1 << 12, 200},
                                           RandomCase{uint64_t{64} << 30, 4096, uint64_t{1} << 30,
                                                      600}));

TEST(Tlsf, HandsOutTheWholeRangeAtOnce) {
  for (const uint64_t size : {uint64_t{64}, 31 * uint64_t{64}, uint64_t{4096}, 33 * uint64_t{64},
                              uint64_t{1000} << 20, (uint64_t{1} << 40) + 64}) {
    Tlsf tlsf(size, 64);
    const auto block = tlsf.allocate(size);
    ASSERT_TRUE(block.has_value()) << size;
    EXPECT_EQ(block->offset, 0U);
    EXPECT_EQ(tlsf.free_bytes(), 0U);
    EXPECT_EQ(tlsf.largest_free_bytes(), 0U);
    EXPECT_FALSE(tlsf.allocate(1));
    EXPECT_TRUE(tlsf.check_integrity());
    tlsf.free(block->id);
    EXPECT_EQ(tlsf.largest_free_bytes(), size);
    EXPECT_FALSE(tlsf.allocate(size + 1));
  }
}

TEST(Tlsf, HandsOutTheWholeRangeInGranules) {
  constexpr uint64_t kCount = 5000;
  Tlsf tlsf(kCount * 64, 64);
  std::vector<uint32_t> ids;
  for (uint64_t i = 0; i < kCount; ++i) {
    const auto block = tlsf.allocate(1 + i % 64);
    ASSERT_TRUE(block.has_value());
    ids.push_back(block->id);
  }
  EXPECT_FALSE(tlsf.allocate(1));
  EXPECT_EQ(tlsf.free_bytes(), 0U);
  EXPECT_TRUE(tlsf.check_integrity());
  for (size_t i = 0; i < ids.size(); i += 2) tlsf.free(ids[i]);
  EXPECT_EQ(tlsf.largest_free_bytes(), 64U) << "every second one is free";
  EXPECT_FALSE(tlsf.allocate(65));
  for (size_t i = 1; i < ids.size(); i += 2) tlsf.free(ids[i]);
  EXPECT_EQ(tlsf.largest_free_bytes(), kCount * 64);
  EXPECT_TRUE(tlsf.check_integrity());
}

TEST(Tlsf, FindsAFitBehindOthersOfItsClass) {
  // Free blocks of 1000, 1001 and 1002 granules share a size class; the first listed is too small.
  Tlsf tlsf(4000 * 64, 64);
  std::vector<uint32_t> holes;
  for (const uint64_t granules : {1002, 1001, 1000}) {
    holes.push_back(tlsf.allocate(granules * 64)->id);
    ASSERT_TRUE(tlsf.allocate(64));
  }
  ASSERT_TRUE(tlsf.allocate(tlsf.free_bytes()));
  for (const uint32_t id : holes) tlsf.free(id);
  const auto block = tlsf.allocate(1002 * 64);
  ASSERT_TRUE(block.has_value());
  EXPECT_EQ(block->offset, 0U);
  EXPECT_TRUE(tlsf.check_integrity());
}

TEST(Tlsf, ARunTakesHolesOfItsSizeFirstAndElseCutsOneBlock) {
  Tlsf tlsf(1000 * 64, 64);
  std::array<Tlsf::Block, 8> run;
  ASSERT_EQ(tlsf.allocate_run(3 * 64, 8, run.data()), 8U);
  for (uint32_t i = 1; i < 8; ++i) EXPECT_EQ(run[i].offset, run[i - 1].offset + 3 * 64);
  ASSERT_TRUE(tlsf.allocate(64));
  tlsf.free(run[2].id);
  tlsf.free(run[5].id);
  std::array<Tlsf::Block, 8> again;
  ASSERT_EQ(tlsf.allocate_run(3 * 64, 8, again.data()), 2U) << "the two holes and nothing new";
  EXPECT_EQ(std::min(again[0].offset, again[1].offset), run[2].offset);
  EXPECT_EQ(std::max(again[0].offset, again[1].offset), run[5].offset);
  ASSERT_TRUE(tlsf.allocate(tlsf.free_bytes() - 7 * 64));
  EXPECT_EQ(tlsf.allocate_run(3 * 64, 8, again.data()), 2U) << "8 and 4 do not fit";
  EXPECT_EQ(tlsf.allocate_run(3 * 64, 8, again.data()), 0U);
  EXPECT_EQ(tlsf.allocate_run(UINT64_MAX, 8, again.data()), 0U);
  EXPECT_TRUE(tlsf.check_integrity());
}

TEST(Tlsf, RefusesZeroAndAbsurdSizes) {
  Tlsf tlsf(1 << 20, 64);
  EXPECT_FALSE(tlsf.allocate(0));
  for (uint64_t less = 0; less < 130; ++less) EXPECT_FALSE(tlsf.allocate(UINT64_MAX - less));
  EXPECT_FALSE(tlsf.allocate(uint64_t{1} << 63));
  EXPECT_EQ(tlsf.live_blocks(), 0U);
  EXPECT_TRUE(tlsf.check_integrity());
}

TEST(Tlsf, ManagesWholeGranulesOnly) {
  Tlsf tlsf(1000, 64);
  EXPECT_EQ(tlsf.size_bytes(), 960U);
  EXPECT_TRUE(tlsf.allocate(960));
}

}  // namespace
}  // namespace krserve::runtime
