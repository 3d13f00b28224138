// What Metal itself costs, without the back end in between: command buffers, events, memory.
#include <chrono>
#include <functional>
#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "device/metal/selftest/common.h"
#include "device/metal/selftest/raw_queue.h"
#include "device/metal_checks.h"

namespace krserve {
namespace {

constexpr std::chrono::seconds kPatience{20};
constexpr uint64_t kPatienceMs = 20'000;

double us_between(uint64_t from_ns, uint64_t to_ns) {
  return (static_cast<double>(to_ns) - static_cast<double>(from_ns)) / 1e3;
}

void wait_for(MetalRawRun& run) {
  if (run.ended.get_future().wait_for(kPatience) == std::future_status::ready) return;
  throw_error<TimeoutError>("metal_selftest.measure", "a command buffer has no end within {} s",
                            kPatience.count());
}

class Costs {
 public:
  Costs(CheckLog& log, metal::MTLDevice& device, bool metal4, int samples)
      : log_(log),
        device_(device),
        samples_(samples),
        queue_(make_metal_raw_queue(device, metal4)),
        other_(make_metal_raw_queue(device, metal4)),
        event_(device.new_shared_event()) {
    if (!queue_ || !other_ || !event_) {
      throw DeviceError("metal_selftest.measure", "Metal makes no queue, event or residency set");
    }
  }

  void round_trips() {
    std::vector<double> commit, start, handler, visible, trip;
    for (int i = 0; i < samples_; ++i) {
      const metal::AutoreleaseScope scope;
      const auto run = queue_->commit({}, {event_.get(), ++value_});
      const bool reached = event_->wait_until(value_, kPatienceMs);
      const uint64_t seen_ns = now_ns();
      wait_for(*run);
      if (!reached) throw TimeoutError("metal_selftest.measure", "an event was not reached");
      commit.push_back(us_between(run->commit_ns, run->commit_end_ns));
      start.push_back(us_between(run->commit_ns, run->start_ns));
      handler.push_back(us_between(run->end_ns, run->handler_ns));
      visible.push_back(us_between(run->end_ns, seen_ns));
      trip.push_back(us_between(run->commit_ns, seen_ns));
    }
    log_.measured("Metal: commit returns", "us", commit);
    log_.measured("Metal: commit to start on the GPU", "us", start);
    log_.measured("Metal: end on the GPU to its handler", "us", handler);
    log_.measured("Metal: end on the GPU to a thread that waits", "us", visible);
    log_.measured("Metal: round trip of a small command buffer", "us", trip);
  }

  void boundaries() {
    std::vector<double> gaps;
    while (static_cast<int>(gaps.size()) < samples_) {
      const metal::AutoreleaseScope scope;
      std::vector<std::shared_ptr<MetalRawRun>> runs;
      for (int i = 0; i < MetalRawQueue::kDepth / 2; ++i) runs.push_back(queue_->commit({}, {}));
      for (const auto& run : runs) wait_for(*run);
      for (size_t i = 1; i < runs.size(); ++i) {
        gaps.push_back(us_between(runs[i - 1]->end_ns, runs[i]->start_ns));
      }
    }
    log_.measured("Metal: between two command buffers of a queue", "us", gaps);
  }

  void events_between_queues() {
    std::vector<double> latencies;
    for (int i = 0; i < samples_; ++i) {
      const metal::AutoreleaseScope scope;
      ++value_;
      const auto second = other_->commit({event_.get(), value_}, {});
      const auto first = queue_->commit({}, {event_.get(), value_});
      wait_for(*first);
      wait_for(*second);
      latencies.push_back(us_between(first->end_ns, second->end_ns));
    }
    log_.measured("Metal: event to another queue, until its end", "us", latencies);
  }

  void memory() {
    using metal::MTLResourceOptions;
    const auto buffers = [this](uint64_t bytes) {
      return timed([this, bytes] {
        const metal::Owned<metal::MTLBuffer> buffer(
            device_.new_buffer(bytes, MTLResourceOptions::kStorageModeShared));
        if (!buffer) throw OutOfMemoryError("metal_selftest.measure", "Metal gives no buffer");
        *static_cast<volatile char*>(buffer->contents()) = 1;
      });
    };
    log_.measured("Metal: 64 KiB buffer, first byte written", "us", buffers(64 * kKiB));
    log_.measured("Metal: 16 MiB buffer, first byte written", "us", buffers(16 * kMiB));
    const auto descriptor = metal::make_object<metal::MTLHeapDescriptor>();
    descriptor->set_type(metal::MTLHeapType::kPlacement);
    descriptor->set_storage_mode(metal::MTLStorageMode::kShared);
    descriptor->set_size(64 * kMiB);
    log_.measured("Metal: 64 MiB heap", "us", timed([&] {
                    const metal::Owned<metal::MTLHeap> heap(device_.new_heap(descriptor.get()));
                    if (!heap) throw OutOfMemoryError("metal_selftest.measure", "no heap");
                  }));
  }

 private:
  std::vector<double> timed(const std::function<void()>& work) const {
    std::vector<double> out;
    for (int i = 0; i < samples_; ++i) {
      const metal::AutoreleaseScope scope;
      const uint64_t start = now_ns();
      work();
      out.push_back(us_between(start, now_ns()));
    }
    return out;
  }

  CheckLog& log_;
  metal::MTLDevice& device_;
  const int samples_;
  std::unique_ptr<MetalRawQueue> queue_;
  std::unique_ptr<MetalRawQueue> other_;
  metal::Owned<metal::MTLSharedEvent> event_;
  uint64_t value_ = 0;
};

}  // namespace

void measure_metal(CheckLog& log, MetalPath path, int samples) {
  require_metal();
  const metal::AutoreleaseScope scope;
  const metal::Owned<metal::MTLDevice> device = system_metal_device();
  const bool metal4 = path != MetalPath::kMetal3 && device->has_metal4();
  Costs costs(log, *device.get(), metal4, samples);
  log.doing("Metal's command buffers");
  costs.round_trips();
  costs.boundaries();
  log.doing("Metal's events");
  costs.events_between_queues();
  log.doing("Metal's memory");
  costs.memory();
}

}  // namespace krserve
