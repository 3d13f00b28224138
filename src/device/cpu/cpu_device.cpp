#include "device/cpu/cpu_device.h"

#include <thread>

#include "base/error.h"
#include "base/machine.h"
#include "base/units.h"
#include "device/cpu/cpu_memory.h"
#include "device/cpu/cpu_queue.h"
#include "device/cpu/cpu_timeline.h"
#include "device/cpu/worker_team.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace krserve {
namespace {

// Cores this process may run on, which a container or taskset may have made fewer than there are.
uint32_t usable_cores() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return static_cast<uint32_t>(CPU_COUNT(&set));
#endif
  return std::max(1U, std::thread::hardware_concurrency());
}

class CpuDevice final : public Device {
 public:
  CpuDevice(uint32_t workers, uint32_t spin_us, kernels::SimdLevel level)
      : spin_us_(spin_us),
        table_(kernels::cpu_kernel_table(level)),
        team_(std::make_shared<WorkerTeam>(workers, spin_us, table_)),
        counter_(std::make_shared<MemoryCounter>()) {
    const MachineFacts machine = machine_facts();
    info_.backend = "cpu";
    info_.name =
        fmt::format("{} ({} workers, {})", machine.processor, workers, kernels::to_string(level));
    info_.memory_bytes = machine.memory_bytes;
    info_.unified_memory = true;
    info_.background_copy_mb_per_s = 400;  // slows decode by 2 %, 800 by 5 % (docs/BLIT_QUEUE.md)
    info_.alignment_bytes = 64;
    info_.dynamic_rows = true;
  }

  const DeviceInfo& info() const override { return info_; }

  std::unique_ptr<Heap> new_heap(uint64_t bytes, Storage storage) override {
    return std::make_unique<CpuHeap>(bytes, storage, counter_);
  }

  std::unique_ptr<Buffer> new_buffer(uint64_t bytes, Storage storage) override {
    return std::make_unique<CpuBuffer>(bytes, storage, counter_);
  }

  std::unique_ptr<Buffer> wrap_host_memory(const void* data, uint64_t bytes) override {
    return std::make_unique<CpuWrappedBuffer>(data, bytes);
  }

  std::unique_ptr<Buffer> new_host_view(void* data, uint64_t bytes) override {
    return std::make_unique<CpuWrappedBuffer>(data, bytes);
  }

  std::shared_ptr<Queue> new_queue(QueueKind kind) override {
    if (kind == QueueKind::kCompute) {
      return std::make_shared<CpuQueue>(
          kind, spin_us_, [team = team_](CpuCommandBuffer& commands) { team->run(commands); });
    }
    auto scratch = std::make_shared<kernels::Scratch>();
    return std::make_shared<CpuQueue>(kind, 0,
                                      [&table = table_, scratch](CpuCommandBuffer& commands) {
                                        run_inline(commands, table, *scratch);
                                      });
  }

  std::shared_ptr<Timeline> new_timeline() override { return std::make_shared<CpuTimeline>(); }
  DeviceMemory memory() const override { return counter_->snapshot(); }
  uint64_t clock_ns() const override { return now_ns(); }

 private:
  const uint32_t spin_us_;
  const kernels::CpuKernelTable& table_;
  std::shared_ptr<WorkerTeam> team_;
  std::shared_ptr<MemoryCounter> counter_;
  DeviceInfo info_;
};

}  // namespace

std::shared_ptr<Device> make_cpu_device(const CpuDeviceOptions& options) {
  const uint32_t workers = options.threads ? options.threads : usable_cores();
  const kernels::SimdLevel level =
      options.simd_level ? *options.simd_level : kernels::detect_simd_level();
  if (!kernels::simd_level_supported(level)) {
    throw_error<DeviceError>("cpu_device.open", "this processor has no {}",
                             kernels::to_string(level));
  }
  return std::make_shared<CpuDevice>(workers, options.spin_us, level);
}

}  // namespace krserve
