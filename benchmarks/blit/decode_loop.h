// Decodes one sequence on a device without the engine: recorded steps, two in flight.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "device/device.h"
#include "model/decoder/decoder.h"
#include "runtime/blit_queue/transfers.h"
#include "runtime/memory_pool/allocator.h"

namespace krserve::bench {

class DecodeLoop {
 public:
  DecodeLoop(std::shared_ptr<Device> device, runtime::Allocator& allocator,
             runtime::Transfers& transfers, const std::filesystem::path& model_dir,
             uint32_t max_tokens);
  ~DecodeLoop();

  static ops::KvLayout kv_layout(const ModelConfig& config);

  // Decodes from position 0, and again from there past the last one; steps per second.
  double run(uint32_t steps);
  // The same as long as it is wanted.
  double run_while(const std::function<bool()>& more);

 private:
  struct Slot {
    StepBuffers buffers;
    std::shared_ptr<CommandBuffer> commands;
    uint64_t value = 0;  // of its last step; 0 = none
  };

  BufferView own(uint64_t bytes);
  void step(uint32_t index);
  void submit(Slot& slot, uint32_t position);
  // Waits for the slot's step and reports its time.
  void finish(Slot& slot);

  std::shared_ptr<Device> device_;
  runtime::Allocator& allocator_;
  runtime::Transfers& transfers_;
  std::vector<runtime::Allocation> allocations_;
  std::unique_ptr<Decoder> decoder_;
  uint32_t pages_ = 0;
  std::array<Slot, 2> slots_;
  std::shared_ptr<Timeline> timeline_;
  uint64_t last_value_ = 0;
  std::shared_ptr<Queue> queue_;
};

}  // namespace krserve::bench
