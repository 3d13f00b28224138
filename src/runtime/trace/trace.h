// TraceRecorder: when the device, the copies, the ring's slots and the engine's thread did what, as
// a file for chrome://tracing and ui.perfetto.dev.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/signposts.h"
#include "base/units.h"
#include "device/queue.h"

namespace krserve::runtime {

enum class TraceTrack : uint8_t { kCompute, kUpload, kDownload, kHost, kSlot };

struct TraceEvent {
  TraceTrack track = TraceTrack::kHost;
  uint32_t slot = 0;  // of kSlot
  const char* name = "";
  uint64_t start_ns = 0;  // host clock (now_ns), device times converted to it
  uint64_t end_ns = 0;
  uint64_t number = 0;         // the step, 0 = none
  const char* note = nullptr;  // why the device was idle before, or null
};

// Thread-safe. Keeps the last `capacity` events; with 0 it only passes intervals to the system's
// profiler. Names and notes are string literals.
class TraceRecorder {
 public:
  static constexpr size_t kDefaultCapacity = size_t{1} << 20;  // 56 MiB when full

  explicit TraceRecorder(size_t capacity = kDefaultCapacity) : capacity_(capacity) {}

  // Whether events are kept.
  bool records() const { return capacity_ > 0; }
  // Where intervals go too. Before the first one.
  void set_signposts(std::shared_ptr<Signposts> signposts) { signposts_ = std::move(signposts); }
  bool has_signposts() const { return signposts_ != nullptr; }

  // Takes the device's clock, read now, as the origin of later device timestamps.
  void align(uint64_t device_clock_ns);

  // Something with device timestamps.
  void add(TraceTrack track, const char* name, const Timestamps& times, uint64_t number = 0,
           const char* note = nullptr, uint32_t slot = 0);
  // A phase of the engine's thread, on the host's clock.
  void add_host(const char* name, uint64_t start_ns, uint64_t end_ns);

  // For TraceInterval. The number to end it by, 0 where nobody listens.
  uint64_t begin(Signpost kind, const char* name);
  void end(Signpost kind, uint64_t id);

  // In order of start; of two that start together, the longer one first.
  std::vector<TraceEvent> events() const;
  uint64_t dropped() const;  // events that newer ones have pushed out
  void clear();

  // Trace Event Format: one process for the device, one for the ring, one for the host.
  std::string json() const;
  // Throws Error if the file cannot be written.
  void write(const std::string& path) const;

 private:
  void push(const TraceEvent& event);

  const size_t capacity_;
  std::shared_ptr<Signposts> signposts_;
  std::atomic<uint64_t> last_interval_{0};
  std::atomic<int64_t> host_minus_device_ns_{0};
  mutable std::mutex mutex_;
  std::vector<TraceEvent> events_;  // once full, a ring whose oldest is at next_
  size_t next_ = 0;
  uint64_t dropped_ = 0;
};

// An interval for the system's profiler from here to the object's end, whatever ends it; nothing
// without a recorder that has a listener.
class TraceInterval {
 public:
  TraceInterval() = default;
  TraceInterval(const std::shared_ptr<TraceRecorder>& recorder, Signpost kind, const char* name)
      : kind_(kind), id_(recorder ? recorder->begin(kind, name) : 0) {
    if (id_ != 0) recorder_ = recorder;
  }
  TraceInterval(TraceInterval&& other) noexcept { *this = std::move(other); }
  TraceInterval& operator=(TraceInterval&& other) noexcept {
    std::swap(recorder_, other.recorder_);
    std::swap(kind_, other.kind_);
    std::swap(id_, other.id_);
    return *this;
  }
  ~TraceInterval() {
    if (recorder_) recorder_->end(kind_, id_);
  }

 private:
  std::shared_ptr<TraceRecorder> recorder_;  // null: nothing to end
  Signpost kind_ = Signpost::kPhase;
  uint64_t id_ = 0;
};

// A phase of the engine's thread from here to the end of the scope; nothing without a recorder.
class TracePhase {
 public:
  TracePhase(const std::shared_ptr<TraceRecorder>& recorder, const char* name)
      : recorder_(recorder.get()),
        name_(name),
        start_ns_(recorder ? now_ns() : 0),
        interval_(recorder, Signpost::kPhase, name) {}
  TracePhase(const TracePhase&) = delete;
  TracePhase& operator=(const TracePhase&) = delete;
  ~TracePhase() {
    if (recorder_) recorder_->add_host(name_, start_ns_, now_ns());
  }

 private:
  TraceRecorder* recorder_;
  const char* name_;
  uint64_t start_ns_;
  TraceInterval interval_;
};

}  // namespace krserve::runtime
