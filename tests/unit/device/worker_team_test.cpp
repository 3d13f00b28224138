#include "device/cpu/worker_team.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "base/error.h"

namespace krserve {
namespace {

using ops::Op;

// Kernels of the test, under names of real ops.
constexpr Op kCount = Op::kSiluMul;   // adds 1 to its task's count
constexpr Op kVerify = Op::kRmsNorm;  // counts tasks whose input count is not `expected`
constexpr Op kThrow = Op::kMatmul;    // throws in task `expected`

struct TestArgs {
  uint32_t tasks;
  uint32_t expected;
  std::atomic<uint32_t>* counts;
  std::atomic<uint32_t>* violations;
};

uint32_t task_count_of(const kernels::Call& call) {
  return call.args_as<TestArgs>().tasks;
}

void count(const kernels::Call& call, uint32_t begin, uint32_t end, kernels::Scratch&) {
  const auto& args = call.args_as<TestArgs>();
  for (uint32_t i = begin; i < end; ++i) args.counts[i].fetch_add(1, std::memory_order_relaxed);
}

void verify(const kernels::Call& call, uint32_t begin, uint32_t end, kernels::Scratch&) {
  const auto& args = call.args_as<TestArgs>();
  for (uint32_t i = begin; i < end; ++i) {
    // Another task's result, which another worker has probably made.
    const uint32_t other = args.tasks - 1 - i;
    if (args.counts[other].load(std::memory_order_relaxed) != args.expected) ++*args.violations;
  }
}

void throw_at(const kernels::Call& call, uint32_t begin, uint32_t end, kernels::Scratch&) {
  const auto& args = call.args_as<TestArgs>();
  for (uint32_t i = begin; i < end; ++i) {
    if (i == args.expected) throw std::runtime_error("task " + std::to_string(i) + " is bad");
  }
}

const kernels::CpuKernelTable& test_kernels() {
  static const kernels::CpuKernelTable table = [] {
    kernels::CpuKernelTable t{};
    t.kernels[static_cast<uint32_t>(kCount)] = {task_count_of, count};
    t.kernels[static_cast<uint32_t>(kVerify)] = {task_count_of, verify};
    t.kernels[static_cast<uint32_t>(kThrow)] = {task_count_of, throw_at};
    return t;
  }();
  return table;
}

struct Counts {
  explicit Counts(uint32_t n) : size(n), values(std::make_unique<std::atomic<uint32_t>[]>(n)) {}
  bool all(uint32_t expected) const {
    return std::all_of(values.get(), values.get() + size,
                       [&](const auto& value) { return value.load() == expected; });
  }
  uint32_t size;
  std::unique_ptr<std::atomic<uint32_t>[]> values;
};

std::unique_ptr<CpuCommandBuffer> recording() {
  return std::make_unique<CpuCommandBuffer>(CommandBufferUse::kRecorded, "list");
}

void add(CpuCommandBuffer& commands, Op op, Counts& counts, uint32_t expected = 0,
         std::atomic<uint32_t>* violations = nullptr) {
  commands.dispatch(op, TestArgs{counts.size, expected, counts.values.get(), violations}, {});
}

struct TeamCase {
  uint32_t workers;
  uint32_t spin_us;
};

class WorkerTeamTest : public ::testing::TestWithParam<TeamCase> {
 protected:
  WorkerTeam team_{GetParam().workers, GetParam().spin_us, test_kernels()};
};

TEST_P(WorkerTeamTest, RunsEveryTaskOnce) {
  for (const uint32_t tasks : {1U, 2U, 7U, 64U, 1000U, 4099U}) {
    Counts counts(tasks);
    auto commands = recording();
    add(*commands, kCount, counts);
    for (uint32_t round = 1; round <= 5; ++round) {
      team_.run(*commands);
      EXPECT_TRUE(counts.all(round)) << tasks << " tasks, round " << round;
    }
  }
}

TEST_P(WorkerTeamTest, RunsListsWithoutTasks) {
  Counts none(0);
  auto commands = recording();
  team_.run(*commands);
  auto barriers = recording();
  barriers->barrier();
  add(*barriers, kCount, none);
  barriers->barrier();
  team_.run(*barriers);
}

TEST_P(WorkerTeamTest, CommandsBetweenBarriersEndBeforeTheNext) {
  constexpr uint32_t kCommands = 200;
  Counts a(257);
  Counts b(31);
  std::atomic<uint32_t> violations{0};
  auto commands = recording();
  for (uint32_t i = 1; i <= kCommands; ++i) {
    add(*commands, kCount, a);
    add(*commands, kCount, b);
    commands->barrier();
    add(*commands, kVerify, a, i, &violations);
    add(*commands, kVerify, b, i, &violations);
    commands->barrier();
  }
  team_.run(*commands);
  EXPECT_EQ(violations.load(), 0U);
  EXPECT_TRUE(a.all(kCommands));
  EXPECT_TRUE(b.all(kCommands));
}

TEST_P(WorkerTeamTest, ManyShortRunsLoseNoWakeUp) {
  Counts counts(3);
  auto commands = recording();
  add(*commands, kCount, counts);
  for (uint32_t i = 0; i < 3000; ++i) team_.run(*commands);
  EXPECT_TRUE(counts.all(3000));
}

TEST_P(WorkerTeamTest, AnExceptionInAKernelFailsTheRunAndTheTeamWorksOn) {
  Counts before(10);
  Counts bad(100);
  Counts after(10);
  auto commands = recording();
  add(*commands, kCount, before);
  commands->barrier();
  add(*commands, kThrow, bad, 57);
  commands->barrier();
  add(*commands, kCount, after);
  for (int round = 1; round <= 3; ++round) {
    try {
      team_.run(*commands);
      FAIL() << "no error";
    } catch (const DeviceError& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr("task 57 is bad"));
      EXPECT_THAT(error.what(), ::testing::HasSubstr("list"));
    }
    EXPECT_TRUE(before.all(static_cast<uint32_t>(round)));
    EXPECT_TRUE(after.all(0)) << "nothing runs on a failed command's results";
    Counts good(500);
    auto next = recording();
    add(*next, kCount, good);
    team_.run(*next);
    EXPECT_TRUE(good.all(1));
  }
}

TEST_P(WorkerTeamTest, CallersTakeTurns) {
  constexpr uint32_t kCallers = 4;
  constexpr uint32_t kRuns = 100;
  Counts counts[kCallers] = {Counts(50), Counts(50), Counts(50), Counts(50)};
  std::vector<std::thread> callers;
  for (Counts& mine : counts) {
    callers.emplace_back([&] {
      auto commands = recording();
      add(*commands, kCount, mine);
      for (uint32_t i = 0; i < kRuns; ++i) team_.run(*commands);
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (const Counts& mine : counts) EXPECT_TRUE(mine.all(kRuns));
}

TEST_P(WorkerTeamTest, IsDestroyedWithoutAndRightAfterARun) {
  for (int round = 0; round < 20; ++round) {
    WorkerTeam idle(GetParam().workers, GetParam().spin_us, test_kernels());
    WorkerTeam used(GetParam().workers, GetParam().spin_us, test_kernels());
    Counts counts(5);
    auto commands = recording();
    add(*commands, kCount, counts);
    used.run(*commands);
    EXPECT_TRUE(counts.all(1));
  }
}

INSTANTIATE_TEST_SUITE_P(Workers, WorkerTeamTest,
                         ::testing::Values(TeamCase{1, 50}, TeamCase{2, 0}, TeamCase{2, 50},
                                           TeamCase{8, 0}, TeamCase{8, 50}),
                         [](const auto& team) {
                           return std::to_string(team.param.workers) + "Workers" +
                                  std::to_string(team.param.spin_us) + "usSpin";
                         });

}  // namespace
}  // namespace krserve
