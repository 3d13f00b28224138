#include "model/decoder/device_weights.h"

#include <algorithm>

#include "model/formats/rope_table.h"

namespace krserve {

// Places tensors one after the other and reports progress by bytes.
struct DeviceWeights::Loader {
  Device& device;
  runtime::Allocator& allocator;
  runtime::Transfers& transfers;
  DeviceWeights& out;
  const LoadProgress& progress;
  uint64_t total_bytes;
  uint64_t done_bytes = 0;

  // Wraps all files, or none if the device cannot.
  void map_files(const Checkpoint& checkpoint) {
    for (const SafetensorsFile& file : checkpoint.files()) {
      auto buffer = device.wrap_host_memory(file.file().data(), file.file().size());
      if (!buffer) {
        out.file_buffers_.clear();
        return;
      }
      out.file_buffers_.push_back(std::move(buffer));
    }
  }

  BufferView upload(const void* data, uint64_t bytes) {
    out.allocations_.push_back(allocator.allocate(bytes, runtime::MemoryTag::kWeights));
    const BufferView view = out.allocations_.back().view();
    transfers.upload(view, data, bytes);
    return view;
  }

  BufferView place(const TensorView& tensor) {
    done_bytes += tensor.bytes;
    if (progress && total_bytes > 0) {
      progress(static_cast<double>(done_bytes) / static_cast<double>(total_bytes));
    }
    const auto address = reinterpret_cast<uintptr_t>(tensor.data);
    for (const auto& file : out.file_buffers_) {
      const std::byte* base = file->contents();
      if (tensor.data < base || tensor.data >= base + file->size_bytes()) continue;
      // MLX does not pad its headers; a device that cannot read such addresses gets a copy.
      if (address % device.info().weight_alignment_bytes != 0) break;
      return {file.get(), static_cast<uint64_t>(tensor.data - base), tensor.bytes};
    }
    return upload(tensor.data, tensor.bytes);
  }

  BufferView place(const std::vector<float>& values) {
    return values.empty() ? BufferView{} : upload(values.data(), values.size() * sizeof(float));
  }

  DeviceLinear place(const LinearWeights& linear) {
    DeviceLinear result;
    result.args = linear.args;
    result.weight = place(linear.weight);
    if (linear.scales) result.scales = place(*linear.scales);
    if (linear.biases) result.biases = place(*linear.biases);
    result.bias = place(linear.bias);
    return result;
  }

  DeviceLayer place(const LayerWeights& layer) {
    DeviceLayer result;
    result.attention_norm = place(layer.attention_norm);
    result.mlp_norm = place(layer.mlp_norm);
    result.q_norm = place(layer.q_norm);
    result.k_norm = place(layer.k_norm);
    result.q = place(layer.q);
    result.k = place(layer.k);
    result.v = place(layer.v);
    result.o = place(layer.o);
    result.gate = place(layer.gate);
    result.up = place(layer.up);
    result.down = place(layer.down);
    return result;
  }
};

DeviceWeights::DeviceWeights(std::shared_ptr<Device> device, runtime::Allocator& allocator,
                             runtime::Transfers& transfers,
                             std::shared_ptr<const Checkpoint> checkpoint,
                             const ModelConfig& config, uint32_t rope_positions,
                             const LoadProgress& progress)
    : checkpoint_(std::move(checkpoint)) {
  const DecoderWeights weights = load_decoder_weights(*checkpoint_, config);
  bytes_ = weights.bytes();
  bytes_per_token_ = bytes_ - (weights.lm_head ? weights.embeddings.bytes() : 0);
  Loader loader{*device, allocator, transfers, *this, progress, bytes_};
  loader.map_files(*checkpoint_);
  embeddings_ = loader.place(weights.embeddings);
  for (const LayerWeights& layer : weights.layers) layers_.push_back(loader.place(layer));
  final_norm_ = loader.place(weights.final_norm);
  head_ = weights.lm_head ? loader.place(*weights.lm_head) : embeddings_;
  rope_table_ = loader.place(krserve::rope_table(config, rope_positions));
  transfers.wait_all();
  if (progress) progress(1.0);
  if (file_buffers_.empty()) checkpoint_.reset();
}

}  // namespace krserve
