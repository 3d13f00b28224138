#include "runtime/trace/trace.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>

#include "base/error.h"

namespace krserve::runtime {
namespace {

struct Place {
  int process;
  int thread;
  std::string name;
};

Place place_of(TraceTrack track, uint32_t slot) {
  switch (track) {
    case TraceTrack::kCompute:
      return {1, 1, "compute"};
    case TraceTrack::kUpload:
      return {1, 2, "copies to device"};
    case TraceTrack::kDownload:
      return {1, 3, "copies to host"};
    case TraceTrack::kSlot:
      return {2, static_cast<int>(slot) + 1, fmt::format("slot {}", slot)};
    case TraceTrack::kHost:
      break;
  }
  return {3, 1, "engine thread"};
}

std::string name_record(const char* what, int process, int thread, const std::string& name) {
  return fmt::format(R"({{"ph":"M","name":"{}","pid":{},"tid":{},"args":{{"name":"{}"}}}})", what,
                     process, thread, name);
}

// Microseconds since `origin`, to the nanosecond.
std::string microseconds(uint64_t ns) {
  return fmt::format("{}.{:03}", ns / 1000, ns % 1000);
}

std::string event_record(const TraceEvent& event, uint64_t origin) {
  const Place place = place_of(event.track, event.slot);
  std::string args;
  if (event.number != 0) args = fmt::format(R"("step":{})", event.number);
  if (event.note) {
    args += fmt::format(R"({}"idle before":"{}")", args.empty() ? "" : ",", event.note);
  }
  return fmt::format(R"({{"ph":"X","name":"{}","pid":{},"tid":{},"ts":{},"dur":{},"args":{{{}}}}})",
                     event.name, place.process, place.thread, microseconds(event.start_ns - origin),
                     microseconds(event.end_ns - event.start_ns), args);
}

}  // namespace

void TraceRecorder::align(uint64_t device_clock_ns) {
  host_minus_device_ns_.store(static_cast<int64_t>(now_ns()) -
                              static_cast<int64_t>(device_clock_ns));
}

void TraceRecorder::add(TraceTrack track, const char* name, const Timestamps& times,
                        uint64_t number, const char* note, uint32_t slot) {
  const auto shift = static_cast<uint64_t>(host_minus_device_ns_.load());  // may wrap: meant to
  push({track, slot, name, times.start_ns + shift, std::max(times.start_ns, times.end_ns) + shift,
        number, note});
}

void TraceRecorder::add_host(const char* name, uint64_t start_ns, uint64_t end_ns) {
  push({TraceTrack::kHost, 0, name, start_ns, std::max(start_ns, end_ns), 0, nullptr});
}

uint64_t TraceRecorder::begin(Signpost kind, const char* name) {
  if (!signposts_ || !signposts_->listening()) return 0;
  const uint64_t id = ++last_interval_;
  signposts_->begin(kind, id, name);
  return id;
}

void TraceRecorder::end(Signpost kind, uint64_t id) {
  signposts_->end(kind, id);
}

void TraceRecorder::push(const TraceEvent& event) {
  if (!records()) return;
  const std::lock_guard lock(mutex_);
  if (events_.size() < capacity_) {
    events_.push_back(event);
    return;
  }
  events_[next_] = event;
  next_ = (next_ + 1) % capacity_;
  ++dropped_;
}

std::vector<TraceEvent> TraceRecorder::events() const {
  std::vector<TraceEvent> sorted;
  {
    const std::lock_guard lock(mutex_);
    sorted = events_;
  }
  std::sort(sorted.begin(), sorted.end(), [](const TraceEvent& a, const TraceEvent& b) {
    return a.start_ns != b.start_ns ? a.start_ns < b.start_ns : a.end_ns > b.end_ns;
  });
  return sorted;
}

uint64_t TraceRecorder::dropped() const {
  const std::lock_guard lock(mutex_);
  return dropped_;
}

void TraceRecorder::clear() {
  const std::lock_guard lock(mutex_);
  events_.clear();
  next_ = 0;
  dropped_ = 0;
}

std::string TraceRecorder::json() const {
  const std::vector<TraceEvent> all = events();
  const uint64_t origin = all.empty() ? 0 : all.front().start_ns;
  std::vector<std::string> records{name_record("process_name", 1, 0, "device"),
                                   name_record("process_name", 2, 0, "command ring"),
                                   name_record("process_name", 3, 0, "host")};
  std::set<std::pair<int, int>> named;
  for (const TraceEvent& event : all) {
    const Place place = place_of(event.track, event.slot);
    if (!named.emplace(place.process, place.thread).second) continue;
    records.push_back(name_record("thread_name", place.process, place.thread, place.name));
  }
  for (const TraceEvent& event : all) records.push_back(event_record(event, origin));
  return fmt::format(
      "{{\"displayTimeUnit\":\"ns\",\"otherData\":{{\"events\":{},\"dropped_events\":{}}},"
      "\"traceEvents\":[\n{}\n]}}\n",
      all.size(), dropped(), fmt::join(records, ",\n"));
}

void TraceRecorder::write(const std::string& path) const {
  std::ofstream file(path);
  file << json();
  file.close();
  if (!file) throw_error<Error>("trace.write", "{} could not be written", path);
}

}  // namespace krserve::runtime
