#include "device/cuda/cuda_clock.h"

#include <algorithm>
#include <cmath>

#include "base/cpu_pause.h"
#include "base/error.h"
#include "base/units.h"

namespace krserve {
namespace {

constexpr uint64_t kIntervalNs = 500'000'000;
// A busy device may be late: then the old anchor serves on and the next try is soon.
constexpr uint64_t kPatienceNs = 300'000;
constexpr uint64_t kRetryNs = 50'000'000;
constexpr uint64_t kFirstPatienceNs = 10'000'000'000;
constexpr int kFirstRounds = 5;
// Beyond these the clocks are set anew instead of brought together slowly.
constexpr double kMostSpanNs = 4e9;
constexpr double kMostErrorNs = 1e6;
constexpr double kMostRate = 1e-3;

}  // namespace

CudaAnchor::~CudaAnchor() {
  if (event) cudaEventDestroy(event);
}

std::optional<uint64_t> CudaAnchor::host_ns_of(cudaEvent_t later) const {
  float ms = 0;
  if (cudaEventElapsedTime(&ms, event, later) != cudaSuccess) {
    cudaGetLastError();
    return std::nullopt;
  }
  return host_ns + static_cast<uint64_t>(std::max(0.0, double{ms} * 1e6 * (1.0 + rate)));
}

CudaClock::CudaClock() {
  cudaError_t code = cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking);
  uint64_t narrowest = UINT64_MAX;
  for (int round = 0; code == cudaSuccess && round < kFirstRounds; ++round) {
    std::shared_ptr<CudaAnchor> anchor;
    uint64_t window = 0;
    code = measure(kFirstPatienceNs, anchor, window);
    if (code != cudaSuccess || window >= narrowest) continue;
    narrowest = window;
    current_ = std::move(anchor);
  }
  if (code != cudaSuccess) {
    cudaGetLastError();
    if (stream_) cudaStreamDestroy(stream_);
    throw_error<DeviceError>("cuda_device.open", "the device's clock cannot be read: {}",
                             cuda_error_text(code));
  }
  next_ns_ = now_ns() + kIntervalNs;
}

CudaClock::~CudaClock() {
  cudaStreamDestroy(stream_);
}

std::shared_ptr<const CudaAnchor> CudaClock::anchor() {
  const uint64_t now = now_ns();
  if (now < next_ns_) return current_;
  std::shared_ptr<CudaAnchor> next;
  uint64_t window = 0;
  if (measure(kPatienceNs, next, window) == cudaSuccess) {
    connect(*next);
    current_ = std::move(next);
    next_ns_ = now + kIntervalNs;
  } else {
    cudaGetLastError();
    next_ns_ = now + kRetryNs;
  }
  return current_;
}

// An event on the idle stream, and the middle of the time in which it can have happened.
cudaError_t CudaClock::measure(uint64_t patience_ns, std::shared_ptr<CudaAnchor>& out,
                               uint64_t& window_ns) {
  auto anchor = std::make_shared<CudaAnchor>();
  cudaError_t code = cudaEventCreateWithFlags(&anchor->event, cudaEventDefault);
  if (code != cudaSuccess) return code;
  const uint64_t before = now_ns();
  code = cudaEventRecord(anchor->event, stream_);
  uint64_t after = before;
  while (code == cudaSuccess) {
    code = cudaEventQuery(anchor->event);
    after = now_ns();
    if (code != cudaErrorNotReady) break;
    if (after - before > patience_ns) return cudaErrorNotReady;
    code = cudaSuccess;
    cpu_pause();
  }
  window_ns = after - before;
  anchor->host_ns = before + window_ns / 2;
  out = std::move(anchor);
  return code;
}

// Times do not jump at a new anchor: it lies where the old one says, and the difference from what
// was measured turns the rate a little (a proportional and an integral part).
void CudaClock::connect(CudaAnchor& next) {
  float ms = 0;
  if (cudaEventElapsedTime(&ms, current_->event, next.event) != cudaSuccess) {
    cudaGetLastError();
    return;
  }
  const double span = double{ms} * 1e6;
  const double device_ns = span * (1.0 + current_->rate);
  const double error =
      static_cast<double>(static_cast<int64_t>(next.host_ns - current_->host_ns)) - device_ns;
  if (span < 1e6 || span > kMostSpanNs || std::fabs(error) > kMostErrorNs) {
    next.rate = drift_;
    return;
  }
  drift_ = std::clamp(drift_ + 0.25 * error / span, -kMostRate, kMostRate);
  next.rate = std::clamp(drift_ + 0.5 * error / span, -kMostRate, kMostRate);
  next.host_ns = current_->host_ns + static_cast<uint64_t>(device_ns);
}

}  // namespace krserve
