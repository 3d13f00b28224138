// The fixture of the seam tests: one suite, instantiated for every back end.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "device/device.h"
#include "kernels/ops/step_params.h"

namespace krserve::parity {

struct BackEnd {
  std::string name;
  std::function<std::shared_ptr<Device>()> open;  // null: not on this machine
};

inline std::string name_of(const ::testing::TestParamInfo<BackEnd>& info) {
  return info.param.name;
}

// Long enough that running into it is a failure, on a loaded machine too.
inline constexpr std::chrono::seconds kLong{60};
inline constexpr std::chrono::milliseconds kShort{5};

using Bytes = std::vector<uint8_t>;

class Parity : public ::testing::TestWithParam<BackEnd> {
 protected:
  void SetUp() override;

  // Bytes to and from device memory through a copy queue, so that no test needs contents().
  void write(const BufferView& dst, const void* data, uint64_t bytes);
  void read(void* data, const BufferView& src, uint64_t bytes);
  template <class T>
  void write(const BufferView& dst, const std::vector<T>& values) {
    write(dst, values.data(), values.size() * sizeof(T));
  }
  template <class T>
  std::vector<T> read_all(const BufferView& src) {
    std::vector<T> out(src.bytes / sizeof(T));
    read(out.data(), src, out.size() * sizeof(T));
    return out;
  }

  std::unique_ptr<Buffer> buffer(uint64_t bytes) {
    return device_->new_buffer(bytes, Storage::kPrivate);
  }
  template <class T>
  std::unique_ptr<Buffer> buffer_of(const std::vector<T>& values) {
    auto result = buffer(values.size() * sizeof(T));
    write(whole(*result), values);
    return result;
  }
  std::unique_ptr<Buffer> step_params(uint32_t rows) {
    return buffer_of(std::vector<ops::StepHeader>{{rows, rows, 0, 0}});
  }

  std::shared_ptr<CommandBuffer> begin(Queue& queue) {
    return queue.begin(CommandBufferUse::kOnce, "test");
  }
  // Commits and waits; expects success.
  void run(Queue& queue, const std::shared_ptr<CommandBuffer>& commands);
  static void commit(Queue& queue, const std::shared_ptr<CommandBuffer>& commands,
                     const std::vector<TimelinePoint>& waits,
                     const std::vector<TimelinePoint>& signals) {
    queue.commit(commands, waits, signals);
  }
  // Commands that fill `dst`, when their gate opens.
  std::shared_ptr<CommandBuffer> commit_fill(Queue& queue, const BufferView& dst, uint8_t value,
                                             const std::vector<TimelinePoint>& waits,
                                             const std::vector<TimelinePoint>& signals);

  std::shared_ptr<Device> device_;
  std::shared_ptr<Queue> compute_;
  std::shared_ptr<Queue> up_;
  std::shared_ptr<Queue> down_;
};

}  // namespace krserve::parity
