#include "device/cpu/worker_team.h"

#include <algorithm>
#include <array>

#include "base/cpu_pause.h"
#include "base/error.h"
#include "base/units.h"

namespace krserve {
namespace {

constexpr uint64_t kOpen = uint64_t{1} << 31;
constexpr uint64_t kInside = kOpen - 1;  // mask of the number of helpers in the run

}  // namespace

void SpinWait::until_changed(const std::atomic<uint32_t>& word, uint32_t old) const {
  if (spin_ns_ > 0) {
    const uint64_t deadline = now_ns() + spin_ns_;
    do {
      for (int i = 0; i < 64; ++i) {
        if (word.load(std::memory_order_acquire) != old) return;
        cpu_pause();
      }
    } while (now_ns() < deadline);
  }
  word.wait(old, std::memory_order_acquire);
}

WorkerTeam::WorkerTeam(uint32_t workers, uint32_t spin_us, const kernels::CpuKernelTable& table)
    : workers_(std::max(1U, workers)), spin_(spin_us), table_(table), scratch_(workers_) {
  threads_.reserve(workers_ - 1);
  for (uint32_t worker = 1; worker < workers_; ++worker) {
    threads_.emplace_back([this, worker] { worker_loop(worker); });
  }
}

WorkerTeam::~WorkerTeam() {
  stopping_.store(true, std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerTeam::run(CpuCommandBuffer& commands) {
  const std::lock_guard turn(run_mutex_);
  commands_ = &commands;
  ++runs_;
  counters_ = commands.reset_counters();
  failed_.store(false, std::memory_order_relaxed);
  const uint64_t epoch = epoch_.load(std::memory_order_relaxed) + 1;
  gate_.store((epoch & UINT32_MAX) << 32 | kOpen, std::memory_order_release);
  epoch_.store(static_cast<uint32_t>(epoch), std::memory_order_release);
  if (workers_ > 1) epoch_.notify_all();
  work(scratch_[0]);
  close_run();
  if (failed_.load(std::memory_order_acquire)) {
    const std::lock_guard lock(error_mutex_);
    throw DeviceError("cpu_device.run", commands.describe() + ": " + error_);
  }
}

void WorkerTeam::worker_loop(uint32_t worker) {
  uint32_t seen = 0;
  for (;;) {
    spin_.until_changed(epoch_, seen);
    seen = epoch_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_relaxed)) return;
    if (!join_run(seen)) continue;
    work(scratch_[worker]);
    leave_run();
  }
}

// False if the run of this epoch is over already.
bool WorkerTeam::join_run(uint32_t epoch) {
  uint64_t gate = gate_.load(std::memory_order_acquire);
  while (gate >> 32 == epoch && (gate & kOpen) != 0) {
    if (gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acq_rel)) return true;
  }
  return false;
}

void WorkerTeam::leave_run() {
  gate_.fetch_sub(1, std::memory_order_acq_rel);
  departures_.fetch_add(1, std::memory_order_release);
  departures_.notify_all();
}

// Lets no more helpers in and waits for those inside to leave.
void WorkerTeam::close_run() {
  gate_.fetch_and(~kOpen, std::memory_order_acq_rel);
  for (;;) {
    const uint32_t departures = departures_.load(std::memory_order_acquire);
    if ((gate_.load(std::memory_order_acquire) & kInside) == 0) return;
    spin_.until_changed(departures_, departures);
  }
}

void WorkerTeam::work(kernels::Scratch& scratch) {
  const std::span<const CpuCommand> all = commands_->commands();
  size_t first = 0;
  while (first < all.size()) {
    size_t end = first;
    while (end < all.size() && all[end].kind != CpuCommand::Kind::kBarrier) ++end;
    if (end > first) work_on({all.subspan(first, end - first), counters_ + first}, scratch);
    first = end + 1;
  }
}

// Takes what tasks it can get and returns when all tasks of the interval have ended.
void WorkerTeam::work_on(const Interval& interval, kernels::Scratch& scratch) {
  // More commands between two barriers than this are counted twice instead of remembered.
  constexpr size_t kRemembered = 16;
  std::array<uint32_t, kRemembered> remembered{};
  const auto tasks_of = [&](size_t i) { return task_count(interval.commands[i], table_); };
  uint32_t total = 0;
  for (size_t i = 0; i < interval.commands.size(); ++i) {
    const uint32_t tasks = tasks_of(i);
    if (i < kRemembered) remembered[i] = tasks;
    total += tasks;
  }
  std::atomic<uint32_t>& done = interval.counters[0].done;
  for (size_t i = 0; i < interval.commands.size(); ++i) {
    take_tasks(interval.commands[i], interval.counters[i],
               i < kRemembered ? remembered[i] : tasks_of(i), done, total, scratch);
  }
  for (uint32_t ended = done.load(std::memory_order_acquire); ended != total;
       ended = done.load(std::memory_order_acquire)) {
    spin_.until_changed(done, ended);
  }
}

void WorkerTeam::take_tasks(const CpuCommand& command, TaskCounter& counter, uint32_t tasks,
                            std::atomic<uint32_t>& done, uint32_t total,
                            kernels::Scratch& scratch) {
  const auto position = static_cast<uint64_t>(&command - commands_->commands().data());
  const uint64_t serial = runs_ << 24 | (position + 1);
  uint32_t begin = counter.next.load(std::memory_order_relaxed);
  while (begin < tasks) {
    // Half of a fair share of what is left: long runs of memory first, an even end.
    const uint32_t end = begin + std::max(1U, (tasks - begin) / (workers_ * 2));
    if (!counter.next.compare_exchange_weak(begin, end, std::memory_order_relaxed)) continue;
    try {
      if (!failed_.load(std::memory_order_relaxed)) {
        run_tasks(command, table_, begin, end, scratch, serial);
      }
    } catch (const std::exception& error) {
      fail(error.what());
    }
    if (done.fetch_add(end - begin, std::memory_order_acq_rel) + (end - begin) == total) {
      done.notify_all();
    }
    begin = counter.next.load(std::memory_order_relaxed);
  }
}

void WorkerTeam::fail(const std::string& what) {
  const std::lock_guard lock(error_mutex_);
  if (failed_.load(std::memory_order_relaxed)) return;
  error_ = what;
  failed_.store(true, std::memory_order_release);
}

}  // namespace krserve
