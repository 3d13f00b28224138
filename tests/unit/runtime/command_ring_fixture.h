// What the command ring's tests share: a ring on a device, and a step as the engine makes it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "device/fake/fake_device.h"
#include "runtime/command_ring/command_ring.h"

namespace krserve::runtime {

inline constexpr uint64_t kKey = 1;
inline constexpr std::chrono::seconds kLongWait{60};

inline CommandBufferRingConfig ring_of(int64_t size, int64_t timeout_ms = 0) {
  CommandBufferRingConfig config;
  config.enabled = true;
  config.ring_size = size;
  config.timeout_ms = timeout_ms;
  return config;
}

class RingFixture : public ::testing::Test {
 protected:
  void open(const CommandBufferRingConfig& config, bool manual = false) {
    FakeOptions options;
    options.manual = manual;
    device_ = std::make_shared<FakeDevice>(options);
    open_on(device_, config);
  }
  void open_on(const std::shared_ptr<Device>& device, const CommandBufferRingConfig& config) {
    ring_ = std::make_unique<CommandRing>(device, device->new_queue(QueueKind::kCompute), config);
    data_ = device->new_buffer(64, Storage::kShared);
  }

  struct StepOptions {
    uint64_t key = kKey;
    bool after_idle = false;
    TimelinePoint wait{};
  };

  // Replays the slot's recording or makes one that fills the data with the slot's number.
  TimelinePoint step(const StepOptions& options, uint32_t* slot_used = nullptr) {
    const RingSlot slot = ring_->acquire();
    if (slot_used) *slot_used = slot.index;
    try {
      auto commands = ring_->recording(slot, options.key);
      const bool replayed = commands != nullptr;
      if (!replayed) {
        commands = ring_->begin_recording(slot, options.key, "step");
        commands->fill(whole(*data_), static_cast<uint8_t>(slot.index + 1));
      }
      return ring_->commit(slot, commands, {&options.wait, options.wait.timeline ? 1U : 0U},
                           replayed, options.after_idle);
    } catch (...) {
      ring_->abandon(slot);
      throw;
    }
  }
  TimelinePoint step(uint32_t* slot_used = nullptr) { return step(StepOptions{}, slot_used); }

  std::shared_ptr<FakeDevice> device_;
  std::unique_ptr<Buffer> data_;
  std::unique_ptr<CommandRing> ring_;
};

}  // namespace krserve::runtime
