// How the Metal device is to be opened.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace krserve {

enum class MetalPath { kAuto, kMetal3, kMetal4 };

struct MetalDeviceOptions {
  MetalPath path = MetalPath::kAuto;
  // A Metal library made at build time; empty: the kernels' text is compiled when the device opens.
  std::string library_file;
  // GPU time of one of Metal's command buffers; longer ones are cut. The system ends those that
  // keep the display waiting for seconds.
  std::chrono::milliseconds command_buffer_budget{200};
  // For so long after the last commit, memory is kept wired; then the system may take it.
  std::chrono::seconds keep_resident{180};
  // For what is on the GPU when a queue is destroyed.
  std::chrono::milliseconds close_patience{10'000};
  // A GPU trace of `capture_count` command buffers after the first `capture_skip`; empty: none.
  std::string capture_file;
  uint32_t capture_skip = 0;
  uint32_t capture_count = 1;
};

}  // namespace krserve
