// What the blit queue's tests share: a device, a queue on it, patterns.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/units.h"
#include "device/fake/fake_device.h"
#include "runtime/blit_queue/blit_queue.h"

namespace krserve::runtime {

using Bytes = std::vector<uint8_t>;

inline constexpr std::chrono::seconds kLong{60};
inline constexpr std::chrono::milliseconds kShort{2};

inline Bytes pattern(size_t bytes, uint32_t seed = 1) {
  Bytes out(bytes);
  for (uint8_t& value : out) {
    seed = seed * 1664525U + 1013904223U;
    value = static_cast<uint8_t>(seed >> 24);
  }
  return out;
}

inline BlitQueueConfig blit_config() {
  BlitQueueConfig config;
  config.enabled = true;
  config.staging_buffer_size_mb = 1;  // 512 KiB a direction, pieces of 128 KiB
  return config;
}

class FakeBlit : public ::testing::Test {
 protected:
  void open(bool unified, bool manual = false, const BlitQueueConfig& config = blit_config()) {
    FakeOptions options;
    options.unified_memory = unified;
    options.manual = manual;
    blit_.reset();
    device_ = std::make_shared<FakeDevice>(options);
    compute_ = device_->new_queue(QueueKind::kCompute);
    blit_ = std::make_unique<BlitQueue>(device_, config);
    data_ = device_->new_buffer(4 * kMiB, Storage::kShared);
  }
  // What the device memory holds.
  Bytes contents(size_t bytes, size_t offset = 0) const {
    const auto* at = reinterpret_cast<const uint8_t*>(data_->contents()) + offset;
    return {at, at + bytes};
  }
  void set_contents(const Bytes& bytes) {
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<uint8_t*>(data_->contents()));
  }
  BufferView view(uint64_t bytes, uint64_t offset = 0) const {
    return {data_.get(), offset, bytes};
  }
  void run_all() {
    while (device_->step()) {
    }
  }

  std::shared_ptr<FakeDevice> device_;
  std::shared_ptr<Queue> compute_;
  std::unique_ptr<Buffer> data_;
  std::unique_ptr<BlitQueue> blit_;
};

}  // namespace krserve::runtime
