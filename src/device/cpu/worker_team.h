// The CPU device's worker team: every worker walks the same command list and takes tasks from it.
//
// A barrier waits for tasks, not for workers: one that the system has taken off its core while it
// held no task keeps nobody waiting, so a busy machine slows a step by its share and not by time
// slices.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "device/cpu/command_list.h"

namespace krserve {

// Busy-wait for a short time, then sleep until notified. For values that usually change soon.
class SpinWait {
 public:
  explicit SpinWait(uint32_t spin_us) : spin_ns_(uint64_t{spin_us} * 1000) {}
  // Returns when `word` is no longer `old`.
  void until_changed(const std::atomic<uint32_t>& word, uint32_t old) const;

 private:
  uint64_t spin_ns_;
};

class WorkerTeam {
 public:
  // `workers` >= 1, the calling thread of run() included.
  WorkerTeam(uint32_t workers, uint32_t spin_us, const kernels::CpuKernelTable& table);
  ~WorkerTeam();
  WorkerTeam(const WorkerTeam&) = delete;
  WorkerTeam& operator=(const WorkerTeam&) = delete;

  uint32_t size() const { return workers_; }
  // Runs all commands; the caller works too. One run at a time (callers take turns). Throws
  // DeviceError with the first worker's failure, after all workers have come to rest.
  void run(CpuCommandBuffer& commands);

 private:
  // Commands between two barriers, from `first`.
  struct Interval {
    std::span<const CpuCommand> commands;
    TaskCounter* counters;
  };

  void worker_loop(uint32_t worker);
  bool join_run(uint32_t epoch);
  void leave_run();
  void close_run();
  void work(kernels::Scratch& scratch);
  void work_on(const Interval& interval, kernels::Scratch& scratch);
  void take_tasks(const CpuCommand& command, TaskCounter& counter, uint32_t tasks,
                  std::atomic<uint32_t>& done, uint32_t total, kernels::Scratch& scratch);
  void fail(const std::string& what);

  const uint32_t workers_;
  const SpinWait spin_;
  const kernels::CpuKernelTable& table_;
  std::vector<kernels::Scratch> scratch_;
  std::mutex run_mutex_;

  // The run under way; written before epoch_ grows.
  const CpuCommandBuffer* commands_ = nullptr;
  uint64_t runs_ = 0;
  TaskCounter* counters_ = nullptr;
  std::atomic<uint32_t> epoch_{0};
  std::atomic<bool> stopping_{false};

  // Epoch in the high half; kOpen and the number of helpers inside in the low half. A helper that
  // wakes up late finds the run closed and touches none of it.
  alignas(64) std::atomic<uint64_t> gate_{0};
  std::atomic<uint32_t> departures_{0};

  std::atomic<bool> failed_{false};
  std::mutex error_mutex_;
  std::string error_;
  std::vector<std::thread> threads_;
};

}  // namespace krserve
