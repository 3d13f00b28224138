#include <gtest/gtest.h>

#include <thread>

#include "device/cpu/worker_team.h"

namespace krserve {
namespace {

constexpr uint32_t kForeverUs = 600'000'000;

TEST(SpinWait, ReturnsAtOnceWhenTheValueHasChanged) {
  const std::atomic<uint32_t> word{1};
  SpinWait(0).until_changed(word, 0);
  SpinWait(kForeverUs).until_changed(word, 0);
  EXPECT_EQ(word.load(), 1U);
}

TEST(SpinWait, SeesAChangeWithoutANotificationWhileItSpins) {
  std::atomic<uint32_t> word{0};
  std::thread waiter([&] { SpinWait(kForeverUs).until_changed(word, 0); });
  word.store(1, std::memory_order_release);  // nobody notifies
  waiter.join();
}

TEST(SpinWait, WakesFromItsSleepWhenNotified) {
  std::atomic<uint32_t> word{0};
  std::thread sleeper([&] { SpinWait(0).until_changed(word, 0); });
  std::thread spinner([&] { SpinWait(100).until_changed(word, 0); });
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  word.notify_all();  // without a change: nobody may leave
  word.store(1, std::memory_order_release);
  word.notify_all();
  sleeper.join();
  spinner.join();
}

TEST(SpinWait, PingPongLosesNoTurn) {
  for (const uint32_t spin_us : {0U, 20U}) {
    const SpinWait wait(spin_us);
    std::atomic<uint32_t> turn{0};
    constexpr uint32_t kTurns = 2000;
    const auto play = [&](uint32_t parity) {
      for (uint32_t i = parity; i < kTurns; i += 2) {
        if (i > 0) wait.until_changed(turn, i - 1);
        turn.store(i + 1, std::memory_order_release);
        turn.notify_all();
        if (i + 1 < kTurns) wait.until_changed(turn, i + 1);
      }
    };
    std::thread even([&] { play(0); });
    std::thread odd([&] {
      wait.until_changed(turn, 0);
      play(1);
    });
    even.join();
    odd.join();
    EXPECT_EQ(turn.load(), kTurns);
  }
}

}  // namespace
}  // namespace krserve
