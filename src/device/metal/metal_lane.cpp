#include "device/metal/metal_lane.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/units.h"
#include "device/metal/metal_command_buffer.h"
#include "device/metal/metal_timeline.h"

namespace krserve {
namespace {

// Before anything is measured: a slow GPU, so that the first pieces are rather too short.
constexpr double kFirstNsPerWork = 1e-3;
// A step that was slow once is remembered for some hundred pieces.
constexpr double kRateDecay = 0.99;
// Too short to tell a rate: it is the time of the boundary.
constexpr uint64_t kShortestRated = 200'000;
constexpr double kLeastBudgetNs = 5e6;
constexpr size_t kMostPieces = MetalPort::kMaxInFlight / 3;

// All timelines of a submission are the context's; the commit has checked it.
MetalTimeline& metal_timeline(const TimelinePoint& point) {
  return static_cast<MetalTimeline&>(*point.timeline);
}

bool is_over(const TimelinePoint& point) {
  return !point.timeline || metal_timeline(point).known().has_reached(point.value) ||
         metal_timeline(point).known().is_poisoned();
}

}  // namespace

MetalLane::MetalLane(const std::shared_ptr<MetalContext>& context)
    : context_(*context),
      port_(MetalPort::make(context)),
      ns_per_work_(kFirstNsPerWork),
      budget_ns_(std::chrono::duration<double, std::nano>(context->options.command_buffer_budget)
                     .count()) {}

std::string MetalLane::describe_running() const {
  std::string out = "compute queue:";
  constexpr size_t kNamed = 2;
  size_t count = 0;
  for (const MetalSubmission& submission : running_) {
    if (submission.first_value != 0 && ++count <= kNamed) {
      out += fmt::format(" {}", submission.commands->describe());
    }
  }
  return count > kNamed ? fmt::format("{} and {} more", out, count - kNamed) : out;
}

MetalLane::Readiness MetalLane::readiness(const MetalSubmission& submission,
                                          std::string& why) const {
  // Metal 3 would make the commit wait, with the lock held.
  if (pieces_running_ + kMostPieces > MetalPort::kMaxInFlight) return Readiness::kWaits;
  Readiness result = Readiness::kReady;
  for (const TimelinePoint& point : submission.waits) {
    if (!point.timeline || metal_timeline(point).known().has_reached(point.value)) continue;
    if (metal_timeline(point).known().is_poisoned()) {
      why = metal_timeline(point).known().message();
      return Readiness::kPoisoned;
    }
    if (!metal_timeline(point).producer_of(point.value, this)) result = Readiness::kWaits;
  }
  return result;
}

bool MetalLane::start_ready() {
  bool any = false;
  while (!waiting_.empty()) {
    MetalSubmission& next = waiting_.front();
    if (next.error.empty() && readiness(next, next.error) == Readiness::kWaits) break;
    any = true;
    MetalSubmission& submission = running_.emplace_back(std::move(next));
    waiting_.pop_front();
    if (submission.error.empty()) start(submission);
  }
  return any;
}

// The submission is the last of running_.
void MetalLane::start(MetalSubmission& submission) {
  std::vector<MetalEventPoint> events;
  for (const TimelinePoint& point : submission.waits) {
    if (!point.timeline || metal_timeline(point).known().has_reached(point.value)) continue;
    const MetalTimeline::Producer* producer = metal_timeline(point).producer_of(point.value, this);
    if (producer->lane != this) events.push_back({&producer->lane->event(), producer->event_value});
  }
  const MetalProgram& program = submission.commands->program();
  try {
    submission.pieces = program.pieces(budget_ns_ / ns_per_work_, kMostPieces);
    MetalWork work;
    work.program = &program;
    work.label = submission.commands->label();
    work.pieces = submission.pieces;
    work.waits = events;
    work.first_value = last_value_ + 1;
    work.ended = [lane = shared_from_this(), context = context_.shared_from_this(),
                  first = last_value_ + 1](size_t piece, const MetalEnd& end) {
      try {
        context->update([&] { lane->piece_ended(first + piece, end); });
      } catch (const std::exception& error) {  // Metal's thread would end the process
        log().error("[metal_queue.run] {}", error.what());
      }
    };
    submission.committed_ns = now_ns();
    context_.capture.before_commit();
    port_->commit(std::move(work));
    context_.capture.after_commit();
  } catch (const std::exception& error) {
    submission.error = error.what();
    return;
  }
  submission.first_value = last_value_ + 1;
  submission.pieces_running = submission.pieces.size();
  last_value_ += submission.pieces.size();
  pieces_running_ += submission.pieces.size();
  for (const TimelinePoint& point : submission.signals) {
    if (!point.timeline) continue;
    metal_timeline(point).add_producer({point.value, this, submission.last_value()});
  }
}

void MetalLane::piece_ended(uint64_t value, const MetalEnd& end) {
  --pieces_running_;
  for (std::deque<MetalSubmission>* all : {&running_, &abandoned_}) {
    for (MetalSubmission& submission : *all) {
      if (submission.first_value == 0 || value < submission.first_value ||
          value > submission.last_value()) {
        continue;
      }
      --submission.pieces_running;
      Timestamps& times = submission.times;
      times.start_ns = times.start_ns == 0 ? end.start_ns : std::min(times.start_ns, end.start_ns);
      times.end_ns = std::max(times.end_ns, end.end_ns);
      if (end.fault == MetalFault::kNone) {
        note_rate(submission.pieces[value - submission.first_value], end);
      } else if (submission.error.empty()) {
        submission.error =
            fmt::format("[metal_queue.run] {}: {} ({}); {}", submission.commands->describe(),
                        metal_fault_name(end.fault), end.error, metal_fault_remedy(end.fault));
      }
    }
  }
  if (end.fault == MetalFault::kTimeout || end.fault == MetalFault::kInteractivity) {
    budget_ns_ = std::max(budget_ns_ / 2, kLeastBudgetNs);
  }
  std::erase_if(abandoned_, [](const MetalSubmission& old) { return old.pieces_running == 0; });
  if (end.fault == MetalFault::kDeviceRemoved) {
    context_.lose(fmt::format("{} ({})", metal_fault_name(end.fault), end.error));
  }
}

void MetalLane::note_rate(const MetalPiece& piece, const MetalEnd& end) {
  const uint64_t took = end.end_ns - std::min(end.start_ns, end.end_ns);
  if (took < kShortestRated || piece.work <= 0) return;
  ns_per_work_ = std::max(ns_per_work_ * kRateDecay, static_cast<double>(took) / piece.work);
}

// The end of what a submission waited for comes first even if Metal tells of it later.
bool MetalLane::retire_ended() {
  bool any = false;
  while (!running_.empty()) {
    MetalSubmission& front = running_.front();
    if (front.pieces_running > 0) break;
    if (front.error.empty() && !std::all_of(front.waits.begin(), front.waits.end(), is_over)) break;
    retire(front);
    running_.pop_front();
    any = true;
  }
  return any;
}

void MetalLane::retire(MetalSubmission& submission) {
  for (const TimelinePoint& point : submission.waits) {
    if (!submission.error.empty()) break;
    if (!point.timeline || metal_timeline(point).known().has_reached(point.value)) continue;
    submission.error = metal_timeline(point).known().message();  // poisoned while it ran
  }
  if (!submission.error.empty()) return fail(submission);
  // Metal's clock is not quite the host's; what certainly came before stays so.
  const uint64_t now = now_ns();
  uint64_t earliest = std::max(submission.committed_ns, last_end_ns_);
  for (const TimelinePoint& point : submission.waits) {
    if (!point.timeline) continue;
    const auto reached = metal_timeline(point).known().reached_at(point.value);
    earliest = std::max(earliest, reached.value_or(0));
  }
  Timestamps& times = submission.times;
  earliest = std::min(earliest, now);
  times.start_ns = std::clamp(times.start_ns, earliest, now);
  times.end_ns = std::clamp(times.end_ns, times.start_ns, now);
  last_end_ns_ = times.end_ns;
  submission.commands->mark_ended(true, times);
  for (const TimelinePoint& point : submission.signals) {
    if (point.timeline) metal_timeline(point).known().signal(point.value, times.end_ns);
  }
  release(submission);
}

void MetalLane::fail(MetalSubmission& submission) {
  submission.commands->mark_ended(false, {});
  for (const TimelinePoint& point : submission.signals) {
    if (point.timeline) metal_timeline(point).known().poison(submission.error);
  }
  release(submission);
}

void MetalLane::release(MetalSubmission& submission) {
  if (submission.first_value == 0) return;
  for (const TimelinePoint& point : submission.signals) {
    if (point.timeline) metal_timeline(point).remove_producers(this, submission.last_value());
  }
}

void MetalLane::fail_waiting(const std::string& why) {
  for (MetalSubmission& submission : waiting_) submission.error = why;
}

void MetalLane::fail_all(const std::string& why) {
  abandon(why);
  for (MetalSubmission& submission : waiting_) {
    submission.error = why;
    fail(submission);
  }
  waiting_.clear();
}

void MetalLane::abandon(const std::string& why) {
  for (MetalSubmission& submission : running_) {
    if (submission.error.empty()) submission.error = why;
    fail(submission);
    if (submission.pieces_running > 0) abandoned_.push_back(std::move(submission));
  }
  running_.clear();
}

}  // namespace krserve
