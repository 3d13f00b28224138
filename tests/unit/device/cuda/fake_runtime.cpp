#include "fake_runtime.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

namespace krserve::fake_cuda {
namespace {

thread_local cudaError_t last_error = cudaSuccess;
// Faster than the host's clock by 40 millionths.
double device_now_ns() {
  const auto host = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::nano>(host).count() * (1.0 + 40e-6);
}

bool is_free(const CUstream_st& stream) {
  return !stream.busy && stream.operations.empty();
}

}  // namespace

Runtime& Runtime::get() {
  static auto* const runtime = new Runtime;  // its threads run until the process ends
  return *runtime;
}

Runtime::Runtime() {
  for (const uint32_t seed : {1U, 2U}) std::thread([this, seed] { work(seed); }).detach();
}

// One of the streams whose next operation need not wait, any of them.
cudaStream_t Runtime::pick(std::mt19937& random) {
  if (frozen_ || broken_ != cudaSuccess) return nullptr;
  cudaStream_t found = nullptr;
  uint32_t count = 0;
  for (const auto& stream : streams_) {
    if (stream->busy || stream->operations.empty()) continue;
    const Operation& next = stream->operations.front();
    if (next.waits_for && !next.waits_for->over) continue;
    if (random() % ++count == 0) found = stream.get();
  }
  return found;
}

void Runtime::work(uint32_t seed) {
  std::mt19937 random(seed);
  std::unique_lock lock(mutex);
  for (;;) {
    std::erase_if(streams_, [](const auto& s) { return s->destroyed && is_free(*s); });
    cudaStream_t stream = pick(random);
    if (!stream) {
      changed.wait(lock);
      continue;
    }
    Operation operation = std::move(stream->operations.front());
    stream->operations.pop_front();
    stream->busy = true;
    lock.unlock();
    if (random() % 16 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 40));
    if (operation.run) operation.run();
    operation.run = nullptr;
    lock.lock();
    stream->busy = false;
    if (operation.reaches) {
      operation.reaches->over = true;
      operation.reaches->device_ns = device_now_ns();
    }
    changed.notify_all();
  }
}

void Runtime::reset(const Options& options) {
  const std::lock_guard lock(mutex);
  options_ = options;
  frozen_ = false;
  broken_ = cudaSuccess;
  fail_in_ = 0;
  all_calls_ = 0;
  calls_.clear();
  violations_.clear();
  for (const auto& stream : streams_) stream->operations.clear();
  last_error = cudaSuccess;
  changed.notify_all();
}

void Runtime::freeze(bool frozen) {
  const std::lock_guard lock(mutex);
  frozen_ = frozen;
  changed.notify_all();
}

void Runtime::break_device(cudaError_t code) {
  const std::lock_guard lock(mutex);
  broken_ = code;
  changed.notify_all();
}

void Runtime::fail_call(uint64_t nth, cudaError_t code, bool for_good, std::string name) {
  const std::lock_guard lock(mutex);
  fail_in_ = nth;
  fail_code_ = code;
  fail_for_good_ = for_good;
  fail_name_ = std::move(name);
}

uint64_t Runtime::calls(const std::string& name) {
  const std::lock_guard lock(mutex);
  return calls_[name];
}

uint64_t Runtime::all_calls() {
  const std::lock_guard lock(mutex);
  return all_calls_;
}

std::vector<std::string> Runtime::violations() {
  const std::lock_guard lock(mutex);
  return violations_;
}

void Runtime::add_violation(const std::string& what) {
  const std::lock_guard lock(mutex);
  violations_.push_back(what);
}

cudaError_t Runtime::enter(const char* name) {
  const std::lock_guard lock(mutex);
  ++calls_[name];
  ++all_calls_;
  if (broken_ != cudaSuccess) return broken_;
  if (fail_in_ == 0 || (!fail_name_.empty() && fail_name_ != name)) return cudaSuccess;
  if (--fail_in_ > 0) return cudaSuccess;
  if (fail_for_good_) {
    broken_ = fail_code_;
    changed.notify_all();
  }
  return fail_code_;
}

cudaError_t Runtime::enter_unsafe(const char* name) {
  if (capturing()) {
    add_violation(std::string(name) + " by a thread that captures");
    capturing()->capture->valid = false;
    return cudaErrorStreamCaptureUnsupported;
  }
  return enter(name);
}

cudaError_t Runtime::leave(cudaError_t code) {
  if (code != cudaSuccess && code != cudaErrorNotReady) last_error = code;
  return code;
}

cudaError_t Runtime::take_last_error() {
  const cudaError_t code = std::exchange(last_error, cudaSuccess);
  const std::lock_guard lock(mutex);
  return broken_ != cudaSuccess ? broken_ : code;
}

cudaError_t Runtime::enqueue(cudaStream_t stream, Operation operation) {
  if (!stream) return cudaErrorInvalidResourceHandle;
  const std::lock_guard lock(mutex);
  if (stream->capture) {
    if (stream->capturer != std::this_thread::get_id() || operation.reaches ||
        operation.waits_for) {
      stream->capture->valid = false;
      return cudaErrorStreamCaptureUnsupported;
    }
    stream->capture->nodes.push_back(std::move(operation.run));
    return cudaSuccess;
  }
  stream->operations.push_back(std::move(operation));
  changed.notify_all();
  return cudaSuccess;
}

// On a broken device what runs still ends, and the rest never starts.
cudaError_t Runtime::drain(cudaStream_t stream) {
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] {
    return std::all_of(streams_.begin(), streams_.end(), [&](const auto& one) {
      if (stream && one.get() != stream) return true;
      return broken_ != cudaSuccess ? !one->busy : is_free(*one);
    });
  });
  return broken_;
}

cudaStream_t Runtime::new_stream() {
  const std::lock_guard lock(mutex);
  streams_.push_back(std::make_unique<CUstream_st>());
  return streams_.back().get();
}

void Runtime::destroy(cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  stream->destroyed = true;
  changed.notify_all();
}

bool Runtime::is_busy(cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  return !is_free(*stream);
}

std::shared_ptr<Moment> Runtime::begin_moment(cudaEvent_t event) {
  const std::lock_guard lock(mutex);
  event->latest = std::make_shared<Moment>();
  return event->latest;
}

std::shared_ptr<Moment> Runtime::latest_moment(cudaEvent_t event) {
  const std::lock_guard lock(mutex);
  return event->latest;
}

cudaError_t Runtime::allocate(void** pointer, size_t bytes, Kind kind) {
  if (bytes == 0 || bytes > kMemoryBytes) return cudaErrorMemoryAllocation;
  const std::lock_guard lock(mutex);
  if (kind == Kind::kDevice && bytes > kMemoryBytes - device_bytes_) {
    return cudaErrorMemoryAllocation;
  }
  constexpr size_t kAlignment = 4096;
  auto storage = std::make_unique<std::byte[]>(bytes + kAlignment);
  const auto address = reinterpret_cast<uintptr_t>(storage.get());
  auto* const begin = storage.get() + (kAlignment - address % kAlignment) % kAlignment;
  std::memset(begin, 0xcd, bytes);  // new memory holds what it held before
  blocks_[begin] = {bytes, kind, std::move(storage)};
  if (kind == Kind::kDevice) device_bytes_ += bytes;
  *pointer = begin;
  return cudaSuccess;
}

// Waits for the device, as CUDA does.
cudaError_t Runtime::release(void* pointer, Kind kind) {
  const cudaError_t code = drain(nullptr);
  const std::lock_guard lock(mutex);
  const auto it = blocks_.find(static_cast<std::byte*>(pointer));
  if (it == blocks_.end() || it->second.kind != kind) {
    violations_.emplace_back("freed what was not allocated so");
    return cudaErrorInvalidValue;
  }
  if (kind == Kind::kDevice) device_bytes_ -= it->second.bytes;
  blocks_.erase(it);
  return code;
}

Runtime::Kind Runtime::kind_of(const void* pointer, size_t bytes) {
  const auto* const begin = static_cast<const std::byte*>(pointer);
  const std::lock_guard lock(mutex);
  auto it = blocks_.upper_bound(begin);
  if (it == blocks_.begin()) return Kind::kPageable;
  --it;
  const auto offset = static_cast<size_t>(begin - it->first);
  if (offset >= it->second.bytes) return Kind::kPageable;
  if (bytes > it->second.bytes - offset) violations_.emplace_back("past the end of an allocation");
  return it->second.kind;
}

size_t Runtime::available_bytes() {
  const std::lock_guard lock(mutex);
  return kMemoryBytes - device_bytes_;
}

cudaStream_t& Runtime::capturing() {
  thread_local cudaStream_t stream = nullptr;
  return stream;
}

}  // namespace krserve::fake_cuda
