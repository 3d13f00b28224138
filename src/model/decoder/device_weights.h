// A model's weights where the device reads them: mapped without a copy, or uploaded.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "device/device.h"
#include "model/decoder/weight_stream.h"
#include "model/formats/weights.h"
#include "runtime/blit_queue/transfers.h"
#include "runtime/memory_pool/allocator.h"

namespace krserve {

struct DeviceLinear {
  ops::WeightArgs args{};
  BufferView weight;
  BufferView scales;  // quantized only
  BufferView biases;  // quantized only
  BufferView bias;    // f32 [n]; may be empty
};

struct DeviceLayer {
  BufferView attention_norm;
  BufferView mlp_norm;
  BufferView q_norm;  // empty without qk_norm
  BufferView k_norm;
  DeviceLinear q, k, v, o;
  DeviceLinear gate, up, down;
};

class DeviceWeights {
 public:
  // Keeps the checkpoint mapped if the device reads from it. `rope_positions`: rows of the rotary
  // table. Throws ModelError, OutOfMemoryError, DeviceError.
  DeviceWeights(std::shared_ptr<Device> device, runtime::Allocator& allocator,
                runtime::Transfers& transfers, std::shared_ptr<const Checkpoint> checkpoint,
                const ModelConfig& config, uint32_t rope_positions,
                const LoadProgress& progress = {}, const WeightLoading& loading = {});

  const DeviceLinear& embeddings() const { return embeddings_; }
  const std::vector<DeviceLayer>& layers() const { return layers_; }
  const BufferView& final_norm() const { return final_norm_; }
  const DeviceLinear& head() const { return head_; }
  const BufferView& rope_table() const { return rope_table_; }
  // All matrices, tied embeddings once.
  uint64_t bytes() const { return bytes_; }
  // What one decode step of one sequence reads of them: all but the embedding rows not looked up.
  uint64_t bytes_per_token() const { return bytes_per_token_; }
  // True when the device reads the mapped files themselves.
  bool mapped() const { return !file_buffers_.empty(); }
  // How long it took to bring the bytes in.
  const LoadReport& load_report() const { return report_; }

 private:
  struct Loader;

  std::shared_ptr<const Checkpoint> checkpoint_;
  std::vector<std::unique_ptr<Buffer>> file_buffers_;
  std::vector<runtime::Allocation> allocations_;
  DeviceLinear embeddings_;
  std::vector<DeviceLayer> layers_;
  BufferView final_norm_;
  DeviceLinear head_;
  BufferView rope_table_;
  LoadReport report_;
  uint64_t bytes_ = 0;
  uint64_t bytes_per_token_ = 0;
};

}  // namespace krserve
