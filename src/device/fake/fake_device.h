// A deterministic device for tests: records calls, simulates time, injects faults.
//
// Commands really run (portable kernels, on the calling thread), at commit, as soon as their waits
// are reached; in manual mode only when step() is called. Time is simulated: every queue is a lane
// of its own, a command buffer starts when its lane is free and its waits are reached and takes the
// time set for it, so overlaps and gaps come out exactly as constructed.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "device/device.h"

namespace krserve {

struct FakeOptions {
  bool unified_memory = true;
  bool dynamic_rows = true;
  bool prompt_matmul = false;  // the bits are the same all the same
  bool manual = false;
  uint64_t memory_limit_bytes = UINT64_MAX;
  uint64_t command_buffer_ns = 1000;  // simulated duration unless set_duration says otherwise
};

enum class FakeFault {
  kAllocation,      // new_heap or new_buffer throws OutOfMemoryError
  kQueue,           // new_queue of the kind throws DeviceError
  kCommit,          // commit throws DeviceError
  kExecution,       // the command buffer fails and poisons its signals
  kHang,            // never starts, and blocks its queue, until release_hangs()
  kLostCompletion,  // runs, but signals nothing
};

struct FakeState;

class FakeDevice final : public Device {
 public:
  explicit FakeDevice(const FakeOptions& options = {});
  ~FakeDevice() override;

  const DeviceInfo& info() const override;
  std::unique_ptr<Heap> new_heap(uint64_t bytes, Storage storage) override;
  std::unique_ptr<Buffer> new_buffer(uint64_t bytes, Storage storage) override;
  std::unique_ptr<Buffer> wrap_host_memory(const void* data, uint64_t bytes) override;
  std::unique_ptr<Buffer> new_host_view(void* data, uint64_t bytes) override;
  std::shared_ptr<Queue> new_queue(QueueKind kind) override;
  std::shared_ptr<Timeline> new_timeline() override;
  DeviceMemory memory() const override;
  uint64_t clock_ns() const override;

  // The n-th (1 = next) allocation, or queue or command buffer of `kind`, from now on.
  void inject(FakeFault fault, uint64_t nth, QueueKind kind = QueueKind::kCompute);
  void clear_faults();
  void release_hangs();

  // Manual mode: runs the oldest command buffer that can run; false if none can.
  bool step();
  void set_manual(bool manual);
  // Simulated duration of command buffers with this label.
  void set_duration(const std::string& label, uint64_t ns);
  void advance_clock(uint64_t ns);

  // "new_heap 1048576", "commit compute decode", "dispatch matmul", ... in order; a matmul that may
  // have rows of prompts is "dispatch matmul prompts".
  std::vector<std::string> calls() const;
  uint64_t count_calls(const std::string& prefix) const;

 private:
  std::shared_ptr<FakeState> state_;
  DeviceInfo info_;
};

}  // namespace krserve
