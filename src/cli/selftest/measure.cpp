#include "cli/selftest/measure.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "kernels/ops/read_bandwidth.h"

namespace krserve::selftest {
namespace {

constexpr std::chrono::seconds kPatience{60};
// Launches of a step of a model of 24 layers.
constexpr int kStepDispatches = 24 * 13;
constexpr uint64_t kTinyBytes = 4096, kTinyChunk = 64;
constexpr uint64_t kReadChunk = 1 * kMiB;
// A pass over memory takes at least so long, or all the bytes.
constexpr double kLongEnoughUs = 20'000;

double us_between(uint64_t from_ns, uint64_t to_ns) {
  return (static_cast<double>(to_ns) - static_cast<double>(from_ns)) / 1e3;
}

// A command buffer, and what the host saw of it.
struct Run {
  std::shared_ptr<CommandBuffer> commands;
  TimelinePoint end;
  uint64_t commit_ns = 0;
  uint64_t commit_end_ns = 0;
  uint64_t seen_ns = 0;

  void wait() {
    if (end.wait(kPatience) != WaitResult::kReached) {
      throw_error<TimeoutError>("metal_selftest.measure", "no end within {} s", kPatience.count());
    }
    seen_ns = now_ns();
  }
  uint64_t start_on_device() const { return commands->timestamps().start_ns; }
  uint64_t end_on_device() const { return commands->timestamps().end_ns; }
  double device_us() const { return us_between(start_on_device(), end_on_device()); }
};

class Costs {
 public:
  Costs(CheckLog& log, const std::shared_ptr<Device>& device, int samples)
      : log_(log),
        device_(*device),
        samples_(samples),
        compute_(device->new_queue(QueueKind::kCompute)),
        up_(device->new_queue(QueueKind::kCopyToDevice)),
        down_(device->new_queue(QueueKind::kCopyToHost)),
        timeline_(device->new_timeline()),
        tiny_(device->new_buffer(kTinyBytes, Storage::kPrivate)),
        sums_(device->new_buffer(kTinyBytes, Storage::kPrivate)) {}

  void round_trips() {
    std::vector<double> trip, visible, start;
    for (int i = 0; i < samples_; ++i) {
      auto run = commit(*compute_, begin(*compute_));
      run.wait();
      trip.push_back(us_between(run.commit_ns, run.seen_ns));
    }
    log_.measured("empty command buffer, round trip", "us", trip);
    for (int i = 0; i < samples_; ++i) {
      auto run = commit(*compute_, tiny_dispatches(1));
      run.wait();
      start.push_back(us_between(run.commit_ns, run.start_on_device()));
      visible.push_back(us_between(run.end_on_device(), run.seen_ns));
    }
    log_.measured("one dispatch: commit to start on the device", "us", start);
    log_.measured("one dispatch: end on the device to the host", "us", visible);
  }

  void boundaries() {
    constexpr size_t kInRow = 8;
    std::vector<double> gaps;
    while (static_cast<int>(gaps.size()) < samples_) {
      std::vector<Run> runs;
      for (size_t i = 0; i < kInRow; ++i) runs.push_back(commit(*compute_, tiny_dispatches(20)));
      runs.back().wait();
      for (size_t i = 1; i < kInRow; ++i) {
        gaps.push_back(us_between(runs[i - 1].end_on_device(), runs[i].start_on_device()));
      }
    }
    log_.measured("between two command buffers of a queue", "us", gaps);
  }

  // A step's launches, encoded each time and replayed.
  void steps() {
    std::vector<double> encode, commit_once, replay, on_device;
    auto recording = tiny_dispatches(kStepDispatches, CommandBufferUse::kRecorded);
    commit(*compute_, recording).wait();
    for (int i = 0; i < samples_; ++i) {
      const uint64_t begin_ns = now_ns();
      auto commands = tiny_dispatches(kStepDispatches);
      encode.push_back(us_between(begin_ns, now_ns()));
      auto once = commit(*compute_, std::move(commands));
      once.wait();
      commit_once.push_back(us_between(once.commit_ns, once.commit_end_ns));
      auto again = commit(*compute_, recording);
      again.wait();
      replay.push_back(us_between(again.commit_ns, again.commit_end_ns));
      on_device.push_back(again.device_us() / kStepDispatches);
    }
    log_.measured("step of 312 dispatches: encoding", "us", encode);
    log_.measured("step of 312 dispatches: first commit", "us", commit_once);
    log_.measured("step of 312 dispatches: commit of a recording", "us", replay);
    log_.measured("dispatch and barrier, on the device", "us", on_device);
  }

  void between_queues() {
    std::vector<double> across, from_host;
    for (int i = 0; i < samples_; ++i) {
      auto first = commit(*compute_, tiny_dispatches(1));
      auto second = commit(*up_, tiny_copy(*up_), first.end);
      second.wait();
      across.push_back(us_between(first.end_on_device(), second.start_on_device()));
    }
    log_.measured("end of a queue to start of one that waits for it", "us", across);
    for (int i = 0; i < samples_; ++i) {
      const TimelinePoint gate{device_.new_timeline(), 1};
      auto run = commit(*compute_, tiny_dispatches(1), gate);
      const uint64_t signal_ns = now_ns();
      gate.timeline->signal(1);
      run.wait();
      from_host.push_back(us_between(signal_ns, run.start_on_device()));
    }
    log_.measured("signal of the host to start on the device", "us", from_host);
  }

  void copies(uint64_t bytes) {
    const auto host = device_.new_buffer(bytes, Storage::kStaging);
    const auto from = device_.new_buffer(bytes, Storage::kPrivate);
    const auto to = device_.new_buffer(bytes, Storage::kPrivate);
    const auto rates = [&](Queue& queue, const Buffer& dst, const Buffer& src) {
      std::vector<double> out;
      for (int i = 0; i < std::max(3, samples_ / 5); ++i) {
        auto commands = begin(queue);
        commands->copy(whole(const_cast<Buffer&>(dst)), whole(const_cast<Buffer&>(src)));
        auto run = commit(queue, std::move(commands));
        run.wait();
        out.push_back(gb_per_s(bytes, run.device_us()));
      }
      return out;
    };
    log_.measured("copy to the device", "GB/s", rates(*up_, *from, *host));
    log_.measured("copy to the host", "GB/s", rates(*down_, *host, *from));
    log_.measured("copy within the device", "GB/s", rates(*compute_, *to, *from));
  }

  void reads(uint64_t most) {
    const auto data = device_.new_buffer(most, Storage::kPrivate);
    const auto sums = device_.new_buffer(kTinyBytes, Storage::kPrivate);
    auto fill = begin(*compute_);
    fill->fill(whole(*data), 1);  // untouched pages would all be one
    commit(*compute_, std::move(fill)).wait();
    const auto pass_us = [&](uint64_t bytes) {
      auto commands = begin(*compute_);
      const std::array views{whole(*data).sub(0, bytes), whole(*sums)};
      commands->dispatch(ops::Op::kReadBandwidth, ops::ReadBandwidthArgs{bytes, kReadChunk}, views);
      auto run = commit(*compute_, std::move(commands));
      run.wait();
      return run.device_us();
    };
    uint64_t bytes = std::min(most, 4 * kReadChunk);
    while (pass_us(bytes) < kLongEnoughUs && bytes < most) bytes = std::min(2 * bytes, most);
    std::vector<double> rates;
    for (int i = 0; i < std::max(3, samples_ / 5); ++i) {
      rates.push_back(gb_per_s(bytes, pass_us(bytes)));
    }
    log_.measured("reading " + format_bytes(bytes), "GB/s", rates);
  }

  void memory(uint64_t bytes) {
    std::vector<double> buffers, heaps;
    for (int i = 0; i < samples_; ++i) {
      const uint64_t begin_ns = now_ns();
      const auto buffer = device_.new_buffer(1 * kMiB, Storage::kShared);
      if (std::byte* data = buffer->contents()) data[0] = std::byte{1};
      const uint64_t middle_ns = now_ns();
      const auto heap = device_.new_heap(bytes, Storage::kShared);
      heaps.push_back(us_between(middle_ns, now_ns()));
      buffers.push_back(us_between(begin_ns, middle_ns));
    }
    log_.measured("1 MiB buffer, first byte written", "us", buffers);
    log_.measured("heap of " + format_bytes(bytes), "us", heaps);
  }

 private:
  static double gb_per_s(uint64_t bytes, double us) {
    return static_cast<double>(bytes) / std::max(us, 1e-3) / 1e3;
  }
  static std::shared_ptr<CommandBuffer> begin(Queue& queue,
                                              CommandBufferUse use = CommandBufferUse::kOnce) {
    return queue.begin(use, "selftest");
  }
  std::shared_ptr<CommandBuffer> tiny_dispatches(int count,
                                                 CommandBufferUse use = CommandBufferUse::kOnce) {
    auto commands = begin(*compute_, use);
    const std::array views{whole(*tiny_).sub(0, kTinyChunk), whole(*sums_)};
    for (int i = 0; i < count; ++i) {
      commands->dispatch(ops::Op::kReadBandwidth, ops::ReadBandwidthArgs{kTinyChunk, kTinyChunk},
                         views);
      commands->barrier();
    }
    return commands;
  }
  std::shared_ptr<CommandBuffer> tiny_copy(Queue& queue) {
    auto commands = begin(queue);
    commands->copy(whole(*tiny_), whole(*sums_));
    return commands;
  }
  Run commit(Queue& queue, std::shared_ptr<CommandBuffer> commands, TimelinePoint wait = {}) {
    Run run;
    run.commands = std::move(commands);
    // A timeline has one order, which two queues do not share.
    run.end = &queue == compute_.get() ? TimelinePoint{timeline_, ++value_}
                                       : TimelinePoint{device_.new_timeline(), 1};
    run.commit_ns = now_ns();
    queue.commit(run.commands, {&wait, wait.timeline ? size_t{1} : size_t{0}}, {&run.end, 1});
    run.commit_end_ns = now_ns();
    return run;
  }

  CheckLog& log_;
  Device& device_;
  const int samples_;
  std::shared_ptr<Queue> compute_;
  std::shared_ptr<Queue> up_;
  std::shared_ptr<Queue> down_;
  std::shared_ptr<Timeline> timeline_;
  uint64_t value_ = 0;
  std::unique_ptr<Buffer> tiny_;
  std::unique_ptr<Buffer> sums_;
};

}  // namespace

void measure_device(CheckLog& log, const std::shared_ptr<Device>& device, int samples,
                    uint64_t bytes) {
  Costs costs(log, device, samples);
  log.doing("command buffers");
  costs.round_trips();
  costs.boundaries();
  costs.steps();
  log.doing("queues");
  costs.between_queues();
  log.doing("copies");
  costs.copies(bytes);
  log.doing("reads");
  costs.reads(bytes);
  log.doing("memory");
  costs.memory(bytes);
}

}  // namespace krserve::selftest
