#include "model/decoder/device_weights.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/units.h"
#include "model/formats/rope_table.h"

namespace krserve {
namespace {

constexpr uint64_t kTensorAlignment = 256;
constexpr uint64_t kMinBlockBytes = 256 * kKiB;
constexpr uint64_t kMaxBlockBytes = 64 * kMiB;

}  // namespace

// Says where each tensor lies on the device; tensors that cannot be read where they are mapped go
// to the stream.
struct DeviceWeights::Loader {
  Device& device;
  runtime::Allocator& allocator;
  runtime::Transfers& transfers;
  DeviceWeights& out;
  WeightStream stream;
  std::vector<runtime::BlitId> uploads;
  std::vector<BufferView> blocks;  // what is left of each
  uint64_t expected_bytes = 0;     // still to be allocated, about

  Loader(Device& on, runtime::Allocator& memory, runtime::Transfers& through,
         DeviceWeights& weights, const WeightLoading& loading)
      : device(on),
        allocator(memory),
        transfers(through),
        out(weights),
        stream(*weights.checkpoint_, through, loading) {}

  // After an error, copies on their way must end before their destinations are freed.
  ~Loader() {
    try {
      transfers.wait_all(std::chrono::seconds(10));
    } catch (const Error&) {  // told by the transfer's own wait
    }
  }
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

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

  // Tensors share blocks: a buffer for each would be hundreds, too small for huge pages.
  BufferView allocate(uint64_t bytes) {
    const uint64_t size = align_up(bytes, kTensorAlignment);
    auto block = std::find_if(blocks.begin(), blocks.end(),
                              [&](const BufferView& rest) { return rest.bytes >= size; });
    if (block == blocks.end()) {
      const uint64_t wanted = std::clamp(expected_bytes, kMinBlockBytes, kMaxBlockBytes);
      out.allocations_.push_back(
          allocator.allocate(std::max(size, wanted), runtime::MemoryTag::kWeights));
      block = blocks.insert(blocks.end(), out.allocations_.back().view());
    }
    const BufferView view = block->sub(0, bytes);
    *block = block->sub(size, block->bytes - size);
    expected_bytes -= std::min(expected_bytes, size);
    return view;
  }

  BufferView place(const TensorView& tensor) {
    const auto address = reinterpret_cast<uintptr_t>(tensor.data);
    for (const auto& file : out.file_buffers_) {
      const std::byte* base = file->contents();
      if (tensor.data < base || tensor.data >= base + file->size_bytes()) continue;
      // MLX does not pad its headers; a device that cannot read such addresses gets a copy.
      if (address % device.info().weight_alignment_bytes != 0) break;
      transfers.add_mapped(tensor.bytes);
      return {file.get(), static_cast<uint64_t>(tensor.data - base), tensor.bytes};
    }
    const BufferView view = allocate(tensor.bytes);
    stream.add(view, tensor.data);
    return view;
  }

  BufferView place(const std::vector<float>& values) {
    if (values.empty()) return {};
    const BufferView view = allocate(values.size() * sizeof(float));
    uploads.push_back(
        transfers.upload(view, values.data(), view.bytes, {}, runtime::BlitPriority::kWeights));
    return view;
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
                             const LoadProgress& progress, const WeightLoading& loading)
    : checkpoint_(std::move(checkpoint)) {
  Loader loader(*device, allocator, transfers, *this, loading);
  if (!loading.stream) loader.map_files(*checkpoint_);
  // Before anything looks at the maps: a file that was cut short is an error here, not a SIGBUS.
  // Pages that would push each other out again are left to their first use.
  if (mapped() && checkpoint_->bytes() < device->info().memory_bytes / 10 * 9) {
    report_ = touch_mapped(*checkpoint_, loading, progress);
  }
  const DecoderWeights weights = load_decoder_weights(*checkpoint_, config);
  bytes_ = weights.bytes();
  bytes_per_token_ = bytes_ - (weights.lm_head ? weights.embeddings.bytes() : 0);
  loader.expected_bytes = mapped() ? 0 : bytes_;
  embeddings_ = loader.place(weights.embeddings);
  for (const LayerWeights& layer : weights.layers) layers_.push_back(loader.place(layer));
  final_norm_ = loader.place(weights.final_norm);
  head_ = weights.lm_head ? loader.place(*weights.lm_head) : embeddings_;
  rope_table_ = loader.place(krserve::rope_table(config, rope_positions));
  const LoadReport streamed = loader.stream.run(mapped() ? LoadProgress{} : progress);
  report_.bytes += streamed.bytes;
  report_.elapsed_ns += streamed.elapsed_ns;
  for (const runtime::BlitId id : loader.uploads) transfers.wait(id);
  if (progress) progress(1.0);
  if (file_buffers_.empty()) checkpoint_.reset();
}

}  // namespace krserve
