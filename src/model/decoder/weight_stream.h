// Brings a checkpoint's bytes to where the device reads them: with parallel reads, bounded memory
// and progress.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "device/buffer.h"
#include "model/formats/checkpoint.h"
#include "model/formats/file_reader.h"
#include "runtime/blit_queue/transfers.h"

namespace krserve {

// 0..1, on the thread that loads; never falls.
using LoadProgress = std::function<void(double)>;

struct WeightLoading {
  bool stream = false;            // copy the weights in even where the device can map them
  uint32_t threads = 0;           // that read; 0 = as many as there are cores, 2 to 8
  PreadFunction pread = nullptr;  // tests
};

struct LoadReport {
  uint64_t bytes = 0;
  uint64_t elapsed_ns = 0;
  double gb_per_s() const {
    return elapsed_ns ? static_cast<double>(bytes) / static_cast<double>(elapsed_ns) : 0;
  }
};

// Reads files through `transfers` into device memory: no more than its staging memory is in
// between. Collect with add(), then run().
class WeightStream {
 public:
  WeightStream(const Checkpoint& checkpoint, runtime::Transfers& transfers,
               const WeightLoading& options);

  // `data` lies in one of the checkpoint's maps; its bytes are read from the file, not the map.
  void add(const BufferView& dst, const std::byte* data);
  // Returns when every byte is where the device reads it. Throws ModelError, DeviceError or
  // OutOfMemoryError; then no thread of it is left.
  LoadReport run(const LoadProgress& progress);

 private:
  struct Piece {
    BufferView dst;
    size_t file;
    uint64_t offset;
  };

  const Checkpoint& checkpoint_;
  runtime::Transfers& transfers_;
  const WeightLoading options_;
  std::vector<FileReader> readers_;
  std::vector<Piece> pieces_;
};

// Reads all pages of mapped files ahead of their first use.
LoadReport touch_mapped(const Checkpoint& checkpoint, const WeightLoading& options,
                        const LoadProgress& progress);

}  // namespace krserve
