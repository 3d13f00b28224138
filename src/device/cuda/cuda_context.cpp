#include "device/cuda/cuda_context.h"

#include <algorithm>

#include "base/cpu_pause.h"
#include "base/error.h"
#include "base/units.h"
#include "device/cuda/cuda_lane.h"
#include "device/cuda/short_naps.h"

namespace krserve {
namespace {

constexpr size_t kFirstEvents = 64;
constexpr size_t kWordPageBytes = 4096;
constexpr size_t kWordBytes = 64;  // a cache line each

// A wait looks without a pause at first: most are for work of microseconds. Then it naps.
constexpr uint64_t kSpinNs = 100'000;
constexpr uint64_t kNapNs = 20'000;
constexpr uint64_t kStreamCheckNs = 3'000'000;

}  // namespace

CudaContext::CudaContext(const CudaFacts& device_facts)
    : facts(device_facts), write_value(find_stream_write_value(device_facts.ordinal)) {
  try {
    // None is made while steps run.
    std::vector<cudaEvent_t> events(kFirstEvents);
    for (cudaEvent_t& event : events) event = take_event();
    free_events = std::move(events);
  } catch (...) {
    for (cudaEvent_t event : all_events) cudaEventDestroy(event);
    throw;
  }
}

CudaContext::~CudaContext() {
  make_current();
  for (cudaEvent_t event : all_events) cudaEventDestroy(event);
  for (void* page : word_pages) cudaFreeHost(page);
}

void CudaContext::throw_if_lost(std::string_view where) {
  const std::lock_guard lock(mutex);
  if (lost.empty()) return;
  throw_error<DeviceError>(where, "the device is lost, restart this process: {}", lost);
}

bool CudaContext::is_lost_after(cudaError_t code, const std::string& what) {
  const std::lock_guard lock(mutex);
  return is_lost_after_locked(code, what);
}

// An error that is the device's comes back from every call; that of a single call does not.
bool CudaContext::is_lost_after_locked(cudaError_t code, const std::string& what) {
  if (code == cudaSuccess) return false;
  cudaGetLastError();
  const cudaError_t probed = cudaStreamQuery(clock.stream());
  return probed != cudaErrorNotReady && failed(probed, what);
}

void CudaContext::try_poll() {
  const std::unique_lock lock(mutex, std::try_to_lock);
  if (lock.owns_lock()) poll();
}

bool CudaContext::wait_until(const std::function<bool()>& over, std::chrono::nanoseconds timeout) {
  const uint64_t begin = now_ns();
  const uint64_t end = timeout == kNoTimeout
                           ? UINT64_MAX
                           : begin + static_cast<uint64_t>(std::max<int64_t>(0, timeout.count()));
  ShortNaps naps;
  std::unique_lock lock(mutex);
  for (;;) {
    if (lock.owns_lock()) {
      poll();
      if (over()) return true;
    }
    const uint64_t now = now_ns();
    if (now >= end) return false;
    if (lock.owns_lock() && now - begin >= kSpinNs) {
      naps.begin();
      changed.wait_for(lock, std::chrono::nanoseconds(std::min(kNapNs, end - now)));
      continue;
    }
    if (lock.owns_lock()) lock.unlock();
    for (int i = 0; i < 16; ++i) cpu_pause();
    static_cast<void>(lock.try_lock());
  }
}

void CudaContext::poll() {
  bool any = false;
  bool moved = true;
  while (moved && lost.empty()) {
    moved = false;
    for (CudaLane* lane : lanes) moved |= lane->retire_ended();
    for (CudaLane* lane : lanes) moved |= lane->start_ready();
    any |= moved;
  }
  if (any) changed.notify_all();
  if (const uint64_t now = now_ns(); now >= next_check_ns) {
    next_check_ns = now + kStreamCheckNs;
    check_streams();
  }
}

void CudaContext::check_streams() {
  for (const CudaLane* lane : lanes) {
    if (!lost.empty()) return;
    if (!lane->is_running()) continue;
    const cudaError_t code = cudaStreamQuery(lane->stream());
    if (code != cudaErrorNotReady) failed(code, "cudaStreamQuery");
  }
}

bool CudaContext::failed(cudaError_t code, const std::string& what) {
  if (code == cudaSuccess) return false;
  cudaGetLastError();
  lose(code, what);
  return true;
}

// The first error sticks. All that was under way or waiting fails with it.
void CudaContext::lose(cudaError_t code, const std::string& what) {
  if (!lost.empty()) return;
  std::string message = fmt::format("{} at {}", cuda_error_text(code), what);
  for (const CudaLane* lane : lanes) {
    if (lane->is_running()) message += fmt::format("; {}", lane->describe_running());
  }
  lost = std::move(message);
  for (CudaLane* lane : lanes) lane->fail_all(lost);
  changed.notify_all();
}

cudaEvent_t CudaContext::take_event() {
  if (!free_events.empty()) {
    cudaEvent_t event = free_events.back();
    free_events.pop_back();
    return event;
  }
  cudaEvent_t event = nullptr;
  all_events.reserve(all_events.size() + 1);
  if (const cudaError_t code = cudaEventCreateWithFlags(&event, cudaEventDefault);
      code != cudaSuccess) {
    cudaGetLastError();
    throw_error<DeviceError>("cuda_queue.commit", "no event to be had: {}", cuda_error_text(code));
  }
  all_events.push_back(event);
  return event;
}

uint64_t* CudaContext::take_word() {
  if (free_words.empty()) {
    void* page = nullptr;
    if (cudaHostAlloc(&page, kWordPageBytes, cudaHostAllocPortable | cudaHostAllocMapped) !=
        cudaSuccess) {
      cudaGetLastError();
      return nullptr;
    }
    word_pages.push_back(page);
    for (size_t at = 0; at < kWordPageBytes; at += kWordBytes) {
      free_words.push_back(reinterpret_cast<uint64_t*>(static_cast<std::byte*>(page) + at));
    }
  }
  uint64_t* word = free_words.back();
  free_words.pop_back();
  __atomic_store_n(word, uint64_t{0}, __ATOMIC_RELAXED);
  return word;
}

}  // namespace krserve
