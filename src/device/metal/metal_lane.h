// The work of one compute queue: what is on the GPU and what cannot be put there yet.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "device/metal/metal_context.h"
#include "device/metal/metal_port.h"
#include "device/queue.h"

namespace krserve {

class MetalCommandBuffer;
class MetalTimeline;

struct MetalSubmission {
  std::shared_ptr<MetalCommandBuffer> commands;
  std::vector<TimelinePoint> waits;
  std::vector<TimelinePoint> signals;
  std::vector<MetalPiece> pieces;
  uint64_t first_value = 0;  // of the port's event; 0 = nothing is on the GPU
  size_t pieces_running = 0;
  uint64_t committed_ns = 0;
  Timestamps times;
  std::string error;  // why it fails when its turn comes; empty if it runs

  uint64_t last_value() const { return first_value + pieces.size() - 1; }
};

// A submission waits until each point it waits for is reached or another one on the GPU will reach
// it: then the GPU does the waiting. Those behind it wait with it. All with the context's mutex
// held, but for the constructor.
class MetalLane : public std::enable_shared_from_this<MetalLane> {
 public:
  // Throws DeviceError.
  explicit MetalLane(const std::shared_ptr<MetalContext>& context);
  MetalLane(const MetalLane&) = delete;
  MetalLane& operator=(const MetalLane&) = delete;

  bool is_idle() const { return running_.empty() && waiting_.empty(); }
  const metal::MTLEvent& event() { return port_->event(); }
  // "'step' (212 launches: rms_norm, matmul, ...)", of the oldest that run.
  std::string describe_running() const;

  void add(MetalSubmission submission) { waiting_.push_back(std::move(submission)); }
  // Both: true if there was something to do.
  bool start_ready();
  bool retire_ended();
  // Those that are not on the GPU yet fail when their turn comes.
  void fail_waiting(const std::string& why);
  // Everything fails now. Nothing of it is waited for.
  void fail_all(const std::string& why);
  // What is on the GPU fails now, and is kept until Metal is done with it: the lane is not to be
  // used any more.
  void abandon(const std::string& why);

 private:
  // Whether the points are reached or, what is on the way to them given, can be left to the GPU.
  enum class Readiness { kWaits, kPoisoned, kReady };
  Readiness readiness(const MetalSubmission& submission, std::string& why) const;
  void start(MetalSubmission& submission);
  void piece_ended(uint64_t value, const MetalEnd& end);
  void note_rate(const MetalPiece& piece, const MetalEnd& end);
  void retire(MetalSubmission& submission);
  void fail(MetalSubmission& submission);
  void release(MetalSubmission& submission);

  MetalContext& context_;
  const std::unique_ptr<MetalPort> port_;
  uint64_t last_value_ = 0;
  size_t pieces_running_ = 0;
  uint64_t last_end_ns_ = 0;
  double ns_per_work_;  // the longest of late: pieces are cut by it
  double budget_ns_;    // of a piece; less after the system has ended one
  std::deque<MetalSubmission> waiting_;
  std::deque<MetalSubmission> running_;
  std::deque<MetalSubmission> abandoned_;
};

}  // namespace krserve
