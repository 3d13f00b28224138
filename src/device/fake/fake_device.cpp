#include "device/fake/fake_device.h"

#include <algorithm>

#include "base/error.h"
#include "base/units.h"
#include "device/fake/fake_state.h"

namespace krserve {
namespace {

void check_allocation(FakeState& state, const char* call, uint64_t bytes) {
  const std::lock_guard lock(state.mutex);
  state.record(std::string(call) + " " + std::to_string(bytes));
  const uint64_t live = state.memory->snapshot().live_bytes;
  const bool injected = state.strikes(FakeFault::kAllocation, QueueKind::kCompute);
  if (injected ||
      bytes > state.options.memory_limit_bytes - std::min(live, state.options.memory_limit_bytes)) {
    throw_error<OutOfMemoryError>("fake_device.allocate", "{} refused{}; {} held",
                                  format_bytes(bytes), injected ? " (injected fault)" : "",
                                  format_bytes(live));
  }
}

}  // namespace

FakeDevice::FakeDevice(const FakeOptions& options) : state_(std::make_shared<FakeState>(options)) {
  info_.backend = "fake";
  info_.name = "fake device";
  info_.memory_bytes = options.memory_limit_bytes;
  info_.unified_memory = options.unified_memory;
  info_.dynamic_rows = options.dynamic_rows;
  info_.prompt_matmul = options.prompt_matmul;
}

FakeDevice::~FakeDevice() = default;

const DeviceInfo& FakeDevice::info() const {
  return info_;
}

std::unique_ptr<Heap> FakeDevice::new_heap(uint64_t bytes, Storage storage) {
  check_allocation(*state_, "new_heap", bytes);
  return std::make_unique<CpuHeap>(bytes, storage, state_->memory);
}

std::unique_ptr<Buffer> FakeDevice::new_buffer(uint64_t bytes, Storage storage) {
  check_allocation(*state_, "new_buffer", bytes);
  return std::make_unique<CpuBuffer>(bytes, storage, state_->memory);
}

std::unique_ptr<Buffer> FakeDevice::wrap_host_memory(const void* data, uint64_t bytes) {
  if (!info_.unified_memory) return nullptr;
  return std::make_unique<CpuWrappedBuffer>(data, bytes);
}

std::unique_ptr<Buffer> FakeDevice::new_host_view(void* data, uint64_t bytes) {
  return std::make_unique<CpuWrappedBuffer>(data, bytes);
}

std::shared_ptr<Queue> FakeDevice::new_queue(QueueKind kind) {
  auto lane = std::make_shared<FakeLane>();
  lane->kind = kind;
  const std::lock_guard lock(state_->mutex);
  if (state_->strikes(FakeFault::kQueue, kind)) {
    throw DeviceError("fake_device.new_queue", "no queue to be had (injected fault)");
  }
  state_->lanes.push_back(lane);
  return std::make_shared<FakeQueue>(state_, std::move(lane));
}

std::shared_ptr<Timeline> FakeDevice::new_timeline() {
  return std::make_shared<FakeTimeline>(state_);
}

DeviceMemory FakeDevice::memory() const {
  return state_->memory->snapshot();
}

uint64_t FakeDevice::clock_ns() const {
  const std::lock_guard lock(state_->mutex);
  return state_->clock;
}

void FakeDevice::inject(FakeFault fault, uint64_t nth, QueueKind kind) {
  const std::lock_guard lock(state_->mutex);
  state_->injections.push_back({fault, std::max<uint64_t>(1, nth), kind});
}

void FakeDevice::clear_faults() {
  const std::lock_guard lock(state_->mutex);
  state_->injections.clear();
}

void FakeDevice::release_hangs() {
  const std::lock_guard lock(state_->mutex);
  for (const auto& weak : state_->lanes) {
    if (const auto lane = weak.lock()) {
      for (FakeSubmission& submission : lane->submissions) submission.hung = false;
    }
  }
  state_->pump();
}

bool FakeDevice::step() {
  const std::lock_guard lock(state_->mutex);
  return state_->run_one();
}

void FakeDevice::set_manual(bool manual) {
  const std::lock_guard lock(state_->mutex);
  state_->options.manual = manual;
  state_->pump();
}

void FakeDevice::set_duration(const std::string& label, uint64_t ns) {
  const std::lock_guard lock(state_->mutex);
  state_->durations[label] = ns;
}

void FakeDevice::advance_clock(uint64_t ns) {
  const std::lock_guard lock(state_->mutex);
  state_->clock += ns;
}

std::vector<std::string> FakeDevice::calls() const {
  const std::lock_guard lock(state_->mutex);
  return state_->calls;
}

uint64_t FakeDevice::count_calls(const std::string& prefix) const {
  const std::lock_guard lock(state_->mutex);
  return static_cast<uint64_t>(
      std::count_if(state_->calls.begin(), state_->calls.end(),
                    [&](const std::string& call) { return call.starts_with(prefix); }));
}

}  // namespace krserve
