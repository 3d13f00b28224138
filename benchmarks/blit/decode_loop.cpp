#include "blit/decode_loop.h"

#include <bit>
#include <cstring>

#include "base/units.h"
#include "kernels/ops/step_params.h"

namespace krserve::bench {
namespace {

constexpr StepCapacity kOneRow{1, 1};
constexpr uint32_t kPageTokens = 16;

}  // namespace

DecodeLoop::DecodeLoop(std::shared_ptr<Device> device, runtime::Allocator& allocator,
                       runtime::Transfers& transfers, const std::filesystem::path& model_dir,
                       uint32_t max_tokens)
    : device_(std::move(device)),
      allocator_(allocator),
      transfers_(transfers),
      timeline_(device_->new_timeline()),
      queue_(device_->new_queue(QueueKind::kCompute)) {
  const ModelConfig config = read_model_config(model_dir);
  auto weights = std::make_shared<const DeviceWeights>(
      device_, allocator_, transfers_, std::make_shared<const Checkpoint>(model_dir), config,
      max_tokens);
  ops::KvLayout kv = kv_layout(config);
  pages_ = max_tokens / kv.page_tokens;
  kv.segment_shift = static_cast<uint32_t>(std::bit_width(pages_ - 1));  // one segment for all
  decoder_ = std::make_unique<Decoder>(config, weights, kv);
  StepBuffers shared;
  shared.kv_segments.push_back(own(kv.page_bytes * pages_));
  shared.last_token = own(sizeof(int32_t));
  shared.token_counts = own(config.vocab_size * sizeof(uint16_t));
  for (const auto& tensor : activation_tensors(config, kOneRow)) {
    set_activation(shared, tensor.name, own(tensor.bytes));
  }
  for (Slot& slot : slots_) {
    slot.buffers = shared;
    slot.buffers.step_params = own(ops::step_layout(1, 1).pages_offset + pages_ * sizeof(uint32_t));
    slot.buffers.sampled = own(sizeof(int32_t));
    slot.commands = queue_->begin(CommandBufferUse::kRecorded, "decode");
    decoder_->encode(*slot.commands, slot.buffers, kOneRow);
  }
}

ops::KvLayout DecodeLoop::kv_layout(const ModelConfig& config) {
  ops::KvLayout kv{};
  kv.page_tokens = kPageTokens;
  kv.kv_heads = config.kv_heads;
  kv.head_dim = config.head_dim;
  kv.type = ops::FloatType::kF16;
  kv.page_bytes = config.layers * 2 * ops::kv_plane_bytes(kv);
  return kv;
}

DecodeLoop::~DecodeLoop() {
  queue_->wait_idle(std::chrono::seconds(10));
}

BufferView DecodeLoop::own(uint64_t bytes) {
  allocations_.push_back(allocator_.allocate(bytes, runtime::MemoryTag::kOther));
  return allocations_.back().view();
}

void DecodeLoop::submit(Slot& slot, uint32_t position) {
  const auto layout = ops::step_layout(1, 1);
  std::vector<std::byte> bytes(slot.buffers.step_params.bytes);
  const auto put = [&](uint64_t at, const auto& value) {
    std::memcpy(bytes.data() + at, &value, sizeof(value));
  };
  put(0, ops::StepHeader{1, 1, pages_, 0});
  const int32_t token = position == 0 ? 1 : ops::kTokenFromSlot;
  put(layout.rows_offset, ops::StepRow{token, position, 0, 0, 0});
  ops::SampleRow sample{};
  sample.flags = ops::kSampleGreedy;
  put(layout.samples_offset, sample);
  for (uint32_t i = 0; i < pages_; ++i) put(layout.pages_offset + i * sizeof(uint32_t), i);
  const TimelinePoint uploaded = transfers_.completion(
      transfers_.upload(slot.buffers.step_params, bytes.data(), bytes.size()));
  const TimelinePoint end{timeline_, ++last_value_};
  queue_->commit(slot.commands, {&uploaded, uploaded.timeline ? 1U : 0U}, {&end, 1});
  slot.value = last_value_;
}

void DecodeLoop::finish(Slot& slot) {
  if (slot.value == 0) return;
  timeline_->wait(slot.value, kNoTimeout);
  transfers_.add_compute(slot.commands->timestamps());
  int32_t token = 0;
  transfers_.wait(transfers_.download(&token, slot.buffers.sampled, sizeof(token)));
  slot.value = 0;
}

void DecodeLoop::step(uint32_t index) {
  Slot& slot = slots_[index % slots_.size()];
  finish(slot);
  submit(slot, index % (pages_ * kPageTokens));
}

double DecodeLoop::run(uint32_t steps) {
  uint32_t left = steps;
  return run_while([&] { return left-- > 0; });
}

double DecodeLoop::run_while(const std::function<bool()>& more) {
  const uint64_t start = now_ns();
  uint32_t steps = 0;
  while (more()) step(steps++);
  for (uint32_t i = steps; i < steps + slots_.size(); ++i) finish(slots_[i % slots_.size()]);
  return steps / (static_cast<double>(now_ns() - start) / 1e9);
}

}  // namespace krserve::bench
