// The work of one queue: what is on its stream and what cannot be put there yet.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "device/cuda/cuda_context.h"
#include "device/queue.h"

namespace krserve {

class CudaCommandBuffer;
class CudaTimeline;

struct CudaSubmission {
  std::shared_ptr<CudaCommandBuffer> commands;
  std::vector<TimelinePoint> waits;
  std::vector<TimelinePoint> signals;
  uint64_t number = 0;          // the word's value at its end; 0 = nothing is on the stream
  cudaEvent_t start = nullptr;  // from the pool, as is `end`
  cudaEvent_t end = nullptr;
  std::shared_ptr<const CudaAnchor> anchor;
  uint64_t enqueued_ns = 0;
  std::string error;  // why it fails when its turn comes; empty if it runs
};

// A submission waits until each point it waits for is reached or another one on a stream will reach
// it: then the device does the waiting. Those behind it wait with it. All with the context's mutex
// held, but for the constructor.
class CudaLane {
 public:
  // Throws DeviceError.
  CudaLane(CudaContext& context, QueueKind kind);
  // Nothing that was not taken out may be running.
  ~CudaLane();
  CudaLane(const CudaLane&) = delete;
  CudaLane& operator=(const CudaLane&) = delete;

  QueueKind kind() const { return kind_; }
  cudaStream_t stream() const { return stream_; }
  bool is_running() const { return !running_.empty(); }
  bool is_stream_empty() const { return cudaStreamQuery(stream_) == cudaSuccess; }
  bool is_idle() const { return running_.empty() && waiting_.empty(); }
  // "compute queue: 'step' (212 commands: rms_norm, matmul, ...)", of the oldest that run.
  std::string describe_running() const;

  void add(CudaSubmission submission) { waiting_.push_back(std::move(submission)); }
  // Both: true if there was something to do.
  bool start_ready();
  bool retire_ended();
  // Those that are not on the stream yet fail when their turn comes.
  void fail_waiting(const std::string& why);
  // Everything fails now. Nothing of it is waited for.
  void fail_all(const std::string& why);
  // What is on the stream, taken out; it fails. The lane is not to be used any more.
  std::deque<CudaSubmission> take_running(const std::string& why);

 private:
  bool try_word();
  // Whether the points are reached or, what is on the way to them given, can be left to the device.
  enum class Readiness { kWaits, kPoisoned, kReady };
  Readiness readiness(const CudaSubmission& submission, std::string& why) const;
  void start(CudaSubmission& submission);
  bool put_on_stream(CudaSubmission& submission);
  bool has_ended(const CudaSubmission& submission) const;
  void retire(CudaSubmission& submission);
  Timestamps times_of(const CudaSubmission& submission) const;
  void fail(CudaSubmission& submission);
  void release(CudaSubmission& submission);

  CudaContext& context_;
  const QueueKind kind_;
  cudaStream_t stream_ = nullptr;
  uint64_t* word_ = nullptr;
  uint64_t last_number_ = 0;
  uint64_t last_end_ns_ = 0;
  std::deque<CudaSubmission> waiting_;
  std::deque<CudaSubmission> running_;
};

const char* cuda_queue_name(QueueKind kind);

}  // namespace krserve
