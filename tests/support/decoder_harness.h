// Runs a model's forward pass on a device without the engine: one sequence, chosen chunks, logits
// out.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "device/device.h"
#include "model/decoder/decoder.h"
#include "model/formats/checkpoint.h"
#include "runtime/blit_queue/direct_blit.h"
#include "runtime/memory_pool/allocator.h"

namespace krserve::test {

class DecoderHarness {
 public:
  DecoderHarness(std::shared_ptr<Device> device, const std::filesystem::path& model_dir,
                 ops::FloatType kv_type = ops::FloatType::kF32, uint32_t max_tokens = 128)
      : device_(std::move(device)), allocator_(device_), transfers_(device_) {
    const ModelConfig config = read_model_config(model_dir);
    auto checkpoint = std::make_shared<const Checkpoint>(model_dir);
    auto weights = std::make_shared<const DeviceWeights>(device_, allocator_, transfers_,
                                                         checkpoint, config, max_tokens);
    ops::KvLayout kv{};
    kv.page_tokens = 16;
    kv.kv_heads = config.kv_heads;
    kv.head_dim = config.head_dim;
    kv.type = kv_type;
    kv.page_bytes = config.layers * 2 * ops::kv_plane_bytes(kv);
    kv.segment_shift = 1;  // two pages a segment: chunks cross pages and segments
    capacity_ = {max_tokens, max_tokens};
    pages_ = max_tokens / kv.page_tokens;
    decoder_ = std::make_unique<Decoder>(config, weights, kv);
    for (uint32_t page = 0; page < pages_; page += 2) {
      buffers_.kv_segments.push_back(own(2 * kv.page_bytes));
    }
    buffers_.step_params =
        own(ops::step_layout(max_tokens, max_tokens).pages_offset + pages_ * sizeof(uint32_t));
    buffers_.last_token = own(max_tokens * sizeof(int32_t));
    buffers_.token_counts = own(config.vocab_size * sizeof(uint16_t));
    buffers_.sampled = own(max_tokens * sizeof(int32_t));
    for (const auto& tensor : activation_tensors(config, capacity_)) {
      set_activation(buffers_, tensor.name, own(tensor.bytes));
    }
    queue_ = device_->new_queue(QueueKind::kCompute);
  }

  // Runs the tokens as rows at `first_position` and returns logits [tokens, vocab].
  std::vector<float> run(const std::vector<int32_t>& tokens, uint32_t first_position) {
    upload_step(tokens, first_position);
    auto commands = queue_->begin(CommandBufferUse::kOnce, "harness");
    decoder_->encode(*commands, buffers_, capacity_);
    const TimelinePoint done{device_->new_timeline(), 1};
    queue_->commit(commands, {}, {&done, 1});
    done.wait(kNoTimeout);
    std::vector<float> logits(tokens.size() * decoder_->config().vocab_size);
    transfers_.download(logits.data(), buffers_.logits, logits.size() * sizeof(float));
    return logits;
  }

  uint32_t vocab() const { return decoder_->config().vocab_size; }

 private:
  BufferView own(uint64_t bytes) {
    allocations_.push_back(allocator_.allocate(bytes, runtime::MemoryTag::kOther));
    return allocations_.back().view();
  }

  void upload_step(const std::vector<int32_t>& tokens, uint32_t first_position) {
    const auto count = static_cast<uint32_t>(tokens.size());
    const auto layout = ops::step_layout(capacity_.rows, capacity_.samples);
    std::vector<std::byte> bytes(layout.pages_offset + pages_ * sizeof(uint32_t));
    const auto put = [&](uint64_t at, const auto& value) {
      std::memcpy(bytes.data() + at, &value, sizeof(value));
    };
    put(0, ops::StepHeader{count, count, pages_, 0});
    for (uint32_t i = 0; i < count; ++i) {
      put(layout.rows_offset + i * sizeof(ops::StepRow),
          ops::StepRow{tokens[i], first_position + i, 0, 0, 0});
      ops::SampleRow sample{};
      sample.row = i;
      sample.slot = i;  // every position is sampled here, each into a slot of its own
      sample.flags = ops::kSampleGreedy;
      put(layout.samples_offset + i * sizeof(ops::SampleRow), sample);
    }
    for (uint32_t i = 0; i < pages_; ++i) {  // pages out of order, as in a used cache
      put(layout.pages_offset + i * sizeof(uint32_t), pages_ - 1 - i);
    }
    transfers_.upload(buffers_.step_params, bytes.data(), bytes.size());
  }

  std::shared_ptr<Device> device_;
  runtime::DirectAllocator allocator_;
  runtime::DirectBlit transfers_;
  std::vector<runtime::Allocation> allocations_;
  std::unique_ptr<Decoder> decoder_;
  StepCapacity capacity_;
  uint32_t pages_ = 0;
  StepBuffers buffers_;
  std::shared_ptr<Queue> queue_;
};

}  // namespace krserve::test
