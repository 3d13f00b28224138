// What the engine does with its allocator: records it, trims it when idle, reports its plan.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "runtime/memory_pool/allocation_log.h"
#include "support/engine_client.h"

namespace krserve::engine {
namespace {

using runtime::AllocationEvent;
using test::greedy_request;
using test::small_config;
using test::submit;

std::unique_ptr<Engine> make_engine(const RuntimeConfig& config) {
  return Engine::create(config, test::golden_dir("qwen2-q4-g64"), {}, nullptr);
}

int64_t activations(const std::vector<AllocationEvent>& events) {
  return std::count_if(events.begin(), events.end(), [](const AllocationEvent& event) {
    return event.allocates && event.tag == runtime::MemoryTag::kActivations;
  });
}

class EnginePoolTest : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(file_); }

  std::filesystem::path file_ =
      std::filesystem::temp_directory_path() / "krserve_engine_pool_test.csv";
};

TEST_F(EnginePoolTest, TheRecordedLogHoldsEveryAllocationAndItsFree) {
  auto config = small_config(true, true, false);
  config.metal_optimizations.memory_pool.allocation_log = file_.string();
  auto engine = make_engine(config);
  submit(*engine, greedy_request({1, 2, 3}, 8)).wait();
  const auto total = engine->statistics().pool.live_objects;
  EXPECT_GT(total, 0U);
  engine.reset();
  const auto events = runtime::read_allocation_log(file_);
  const auto taken = std::count_if(events.begin(), events.end(),
                                   [](const AllocationEvent& event) { return event.allocates; });
  EXPECT_EQ(static_cast<size_t>(taken) * 2, events.size()) << "everything came back";
  EXPECT_GE(activations(events), 8) << "without the ring each step takes its own";
}

TEST_F(EnginePoolTest, AnIdleEngineTrimsItsAllocator) {
  auto config = small_config(true, true, true);
  config.metal_optimizations.memory_pool.allocation_log = file_.string();
  const auto engine = make_engine(config);
  submit(*engine, greedy_request({1, 2, 3}, 4)).wait();
  // The log is written out when the allocator is trimmed, and only then: it is short.
  const auto written = [&] { return activations(runtime::read_allocation_log(file_)); };
  for (int i = 0; i < 1000 && std::filesystem::file_size(file_) == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ASSERT_GT(std::filesystem::file_size(file_), 0U) << "nothing for ten seconds";
  for (int i = 0; i < 1000 && written() == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(written(), 1) << "with the ring one block serves every step";
}

TEST_F(EnginePoolTest, StatisticsTellThePlanAndTheAllocationsOfAToken) {
  const auto engine = make_engine(small_config(true, true, true));
  submit(*engine, greedy_request({1, 2, 3}, 8)).wait();
  const auto first = engine->statistics();
  EXPECT_GT(first.pool.activation_planned_bytes, 0U);
  EXPECT_LT(first.pool.activation_planned_bytes, first.pool.activation_naive_bytes);
  EXPECT_EQ(first.pool.allocations_per_token,
            static_cast<double>(first.pool.total_allocations) / 8.0);
  for (int i = 0; i < 3; ++i) submit(*engine, greedy_request({4, 5, 6}, 8)).wait();
  engine->reset_statistics();
  submit(*engine, greedy_request({7, 8, 9}, 8)).wait();
  EXPECT_EQ(engine->statistics().pool.allocations_per_token, 0.0) << "all slots have their memory";

  const auto baseline = make_engine(small_config(false, true, true));
  submit(*baseline, greedy_request({1, 2, 3}, 8)).wait();
  EXPECT_EQ(baseline->statistics().pool.activation_planned_bytes, 0U) << "no pool, no plan";
  EXPECT_GT(baseline->statistics().pool.allocations_per_token, 1.0);
}

}  // namespace
}  // namespace krserve::engine
