#include "device/cuda/cuda_lane.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/units.h"
#include "device/cuda/cuda_command_buffer.h"
#include "device/cuda/cuda_timeline.h"

namespace krserve {
namespace {

// All timelines of a submission are the context's; the commit has checked it.
CudaTimeline& cuda(const TimelinePoint& point) {
  return static_cast<CudaTimeline&>(*point.timeline);
}

bool is_over(const TimelinePoint& point) {
  return !point.timeline || cuda(point).known().has_reached(point.value) ||
         cuda(point).known().is_poisoned();
}

}  // namespace

const char* cuda_queue_name(QueueKind kind) {
  switch (kind) {
    case QueueKind::kCompute:
      return "compute queue";
    case QueueKind::kCopyToDevice:
      return "copy-to-device queue";
    case QueueKind::kCopyToHost:
      return "copy-to-host queue";
  }
  return "?";
}

CudaLane::CudaLane(CudaContext& context, QueueKind kind) : context_(context), kind_(kind) {
  int least = 0;
  int greatest = 0;
  cudaError_t code = cudaDeviceGetStreamPriorityRange(&least, &greatest);
  const int priority = kind == QueueKind::kCompute ? greatest : least;
  if (code == cudaSuccess) {
    code = cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, priority);
  }
  if (code != cudaSuccess) {
    cudaGetLastError();
    throw_error<DeviceError>("cuda_device.new_queue", "no {} to be had: {}", cuda_queue_name(kind),
                             cuda_error_text(code));
  }
  if (!context.write_value) return;
  const std::lock_guard lock(context.mutex);
  word_ = context.take_word();
  if (word_ && !try_word()) context.give_word(std::exchange(word_, nullptr));
}

// Once, so that a driver that refuses is asked for the ends of command buffers instead.
bool CudaLane::try_word() {
  return context_.write_value(stream_, reinterpret_cast<CUdeviceptr>(word_), ++last_number_,
                              CU_STREAM_WRITE_VALUE_DEFAULT) == CUDA_SUCCESS;
}

// A word that is yet to be written is nobody else's.
CudaLane::~CudaLane() {
  if (word_ && __atomic_load_n(word_, __ATOMIC_ACQUIRE) == last_number_) context_.give_word(word_);
  if (stream_) cudaStreamDestroy(stream_);
}

std::string CudaLane::describe_running() const {
  std::string out = fmt::format("{}:", cuda_queue_name(kind_));
  constexpr size_t kNamed = 2;
  size_t count = 0;
  for (const CudaSubmission& submission : running_) {
    if (submission.number != 0 && ++count <= kNamed) {
      out += fmt::format(" {}", submission.commands->describe());
    }
  }
  return count > kNamed ? fmt::format("{} and {} more", out, count - kNamed) : out;
}

CudaLane::Readiness CudaLane::readiness(const CudaSubmission& submission, std::string& why) const {
  Readiness result = Readiness::kReady;
  for (const TimelinePoint& point : submission.waits) {
    if (!point.timeline || cuda(point).known().has_reached(point.value)) continue;
    if (cuda(point).known().is_poisoned()) {
      why = cuda(point).known().message();
      return Readiness::kPoisoned;
    }
    if (!cuda(point).producer_of(point.value, this)) result = Readiness::kWaits;
  }
  return result;
}

bool CudaLane::start_ready() {
  bool any = false;
  while (!waiting_.empty()) {
    CudaSubmission& next = waiting_.front();
    if (next.error.empty()) {
      const Readiness ready = readiness(next, next.error);
      if (ready == Readiness::kWaits) break;
    }
    any = true;
    CudaSubmission& submission = running_.emplace_back(std::move(next));
    waiting_.pop_front();
    if (submission.error.empty()) start(submission);
    if (!context_.lost.empty()) break;
  }
  return any;
}

// The submission is the last of running_ and fails with it if the device does.
void CudaLane::start(CudaSubmission& submission) {
  context_.make_current();
  try {
    submission.anchor = context_.clock.anchor();
    submission.start = context_.take_event();
    submission.end = context_.take_event();
  } catch (const std::exception& error) {
    submission.error = error.what();
    return;
  }
  if (!put_on_stream(submission) || !submission.error.empty()) return;
  for (const TimelinePoint& point : submission.signals) {
    if (!point.timeline) continue;
    cuda(point).add_producer({point.value, this, submission.number, submission.end});
  }
}

// False if the device was lost over it. The end comes before the word, so that its time is known
// when the host sees the word.
bool CudaLane::put_on_stream(CudaSubmission& submission) {
  for (const TimelinePoint& point : submission.waits) {
    if (!point.timeline || cuda(point).known().has_reached(point.value)) continue;
    const CudaTimeline::Producer* producer = cuda(point).producer_of(point.value, this);
    if (producer->lane == this) continue;
    if (context_.failed(cudaStreamWaitEvent(stream_, producer->event, 0), "cudaStreamWaitEvent")) {
      return false;
    }
  }
  submission.enqueued_ns = now_ns();
  submission.number = ++last_number_;
  if (context_.failed(cudaEventRecord(submission.start, stream_), "cudaEventRecord")) return false;
  if (const cudaError_t code = submission.commands->issue(stream_, submission.error);
      code != cudaSuccess && context_.is_lost_after_locked(code, submission.error)) {
    return false;
  }
  if (context_.failed(cudaEventRecord(submission.end, stream_), "cudaEventRecord")) return false;
  if (!word_) return true;
  const auto address = reinterpret_cast<CUdeviceptr>(word_);
  const CUresult written =
      context_.write_value(stream_, address, submission.number, CU_STREAM_WRITE_VALUE_DEFAULT);
  // Codes up to 999 are the same in both.
  return !context_.failed(static_cast<cudaError_t>(written), "cuStreamWriteValue64");
}

bool CudaLane::has_ended(const CudaSubmission& submission) const {
  if (submission.number == 0) return true;
  if (word_) return __atomic_load_n(word_, __ATOMIC_ACQUIRE) >= submission.number;
  const cudaError_t code = cudaEventQuery(submission.end);
  if (code != cudaSuccess) cudaGetLastError();  // check_streams() finds errors
  return code == cudaSuccess;
}

// The end of what a submission waited for comes first even if its word is seen later.
bool CudaLane::retire_ended() {
  bool any = false;
  while (!running_.empty()) {
    CudaSubmission& front = running_.front();
    if (!has_ended(front)) break;
    if (front.error.empty() && !std::all_of(front.waits.begin(), front.waits.end(), is_over)) break;
    retire(front);
    running_.pop_front();
    any = true;
  }
  return any;
}

void CudaLane::retire(CudaSubmission& submission) {
  for (const TimelinePoint& point : submission.waits) {
    if (!submission.error.empty()) break;
    if (!point.timeline || cuda(point).known().has_reached(point.value)) continue;
    submission.error = cuda(point).known().message();  // poisoned while it ran
  }
  if (!submission.error.empty()) return fail(submission);
  const Timestamps times = times_of(submission);
  last_end_ns_ = times.end_ns;
  submission.commands->mark_ended(true, times);
  for (const TimelinePoint& point : submission.signals) {
    if (point.timeline) cuda(point).known().signal(point.value, times.end_ns);
  }
  release(submission);
}

// Measured times may be off by the anchor's few microseconds; what certainly came before stays so.
Timestamps CudaLane::times_of(const CudaSubmission& submission) const {
  const uint64_t now = now_ns();
  uint64_t earliest = std::max(submission.enqueued_ns, last_end_ns_);
  for (const TimelinePoint& point : submission.waits) {
    if (!point.timeline) continue;
    earliest = std::max(earliest, cuda(point).known().reached_at(point.value).value_or(0));
  }
  earliest = std::min(earliest, now);
  const uint64_t start = submission.anchor->host_ns_of(submission.start).value_or(earliest);
  const uint64_t end = submission.anchor->host_ns_of(submission.end).value_or(now);
  Timestamps times;
  times.start_ns = std::clamp(start, earliest, now);
  times.end_ns = std::clamp(end, times.start_ns, now);
  return times;
}

void CudaLane::fail(CudaSubmission& submission) {
  submission.commands->mark_ended(false, {});
  for (const TimelinePoint& point : submission.signals) {
    if (point.timeline) cuda(point).known().poison(submission.error);
  }
  release(submission);
}

void CudaLane::release(CudaSubmission& submission) {
  for (const TimelinePoint& point : submission.signals) {
    if (!point.timeline) continue;
    cuda(point).remove_producers(this, submission.number);
    cuda(point).count_pending(-1);
  }
  if (submission.start) context_.give_event(submission.start);
  if (submission.end) context_.give_event(submission.end);
}

void CudaLane::fail_waiting(const std::string& why) {
  for (CudaSubmission& submission : waiting_) submission.error = why;
}

void CudaLane::fail_all(const std::string& why) {
  for (std::deque<CudaSubmission>* all : {&running_, &waiting_}) {
    for (CudaSubmission& submission : *all) {
      submission.error = why;
      fail(submission);
    }
    all->clear();
  }
}

std::deque<CudaSubmission> CudaLane::take_running(const std::string& why) {
  for (CudaSubmission& submission : running_) {
    if (submission.error.empty()) submission.error = why;
    fail(submission);
  }
  return std::exchange(running_, {});
}

}  // namespace krserve
