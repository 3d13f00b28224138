#include "device/cpu/worker_team.h"

#include <algorithm>

#include "base/error.h"
#include "base/units.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace krserve {
namespace {

void cpu_pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

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

Timestamps WorkerTeam::run(CpuCommandBuffer& commands) {
  const std::lock_guard turn(run_mutex_);
  Timestamps times;
  times.start_ns = now_ns();
  commands_ = &commands;
  counters_ = commands.reset_counters();
  failed_.store(false, std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  if (workers_ > 1) epoch_.notify_all();
  work(0);
  if (failed_.load(std::memory_order_acquire)) {
    const std::lock_guard lock(error_mutex_);
    throw DeviceError("cpu_device.run", commands.describe() + ": " + error_);
  }
  times.end_ns = now_ns();
  return times;
}

void WorkerTeam::worker_loop(uint32_t worker) {
  uint32_t seen = 0;
  for (;;) {
    spin_.until_changed(epoch_, seen);
    seen = epoch_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_relaxed)) return;
    work(worker);
  }
}

void WorkerTeam::work(uint32_t worker) {
  size_t index = 0;
  for (const CpuCommand& command : commands_->commands()) {
    TaskCounter& counter = counters_[index++];
    if (command.kind == CpuCommand::Kind::kBarrier) {
      barrier();
    } else if (!failed_.load(std::memory_order_relaxed)) {
      work_on(command, counter, scratch_[worker]);
    }
  }
  barrier();
}

void WorkerTeam::work_on(const CpuCommand& command, TaskCounter& counter,
                         kernels::Scratch& scratch) {
  try {
    const uint32_t tasks = task_count(command, table_);
    // A few turns per worker: enough to even out, few enough to stay off the counter.
    const uint32_t turn = std::max(1U, tasks / (workers_ * 8));
    while (counter.next.load(std::memory_order_relaxed) < tasks) {
      const uint32_t begin = counter.next.fetch_add(turn, std::memory_order_relaxed);
      if (begin >= tasks) return;
      run_tasks(command, table_, begin, std::min(tasks, begin + turn), scratch);
    }
  } catch (const std::exception& error) {
    fail(error.what());
  }
}

void WorkerTeam::barrier() {
  if (workers_ == 1) return;
  const uint32_t phase = phase_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == workers_) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.fetch_add(1, std::memory_order_release);
    phase_.notify_all();
    return;
  }
  spin_.until_changed(phase_, phase);
}

void WorkerTeam::fail(const std::string& what) {
  const std::lock_guard lock(error_mutex_);
  if (failed_.load(std::memory_order_relaxed)) return;
  error_ = what;
  failed_.store(true, std::memory_order_release);
}

}  // namespace krserve
