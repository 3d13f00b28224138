#include "native/ring.h"

#include <fmt/format.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include "base/error.h"
#include "native/device.h"
#include "native/gil.h"
#include "native/transfers.h"

namespace krserve::python {
namespace {

constexpr const char* kLabel = "python";
constexpr std::chrono::seconds kPatience{10};

void init(Ring* self, nb::handle config, nb::handle device, const nb::kwargs& settings) {
  auto read = read_settings<CommandBufferRingConfig>(config, settings);
  new (self) Ring(device_from(device), read);
}

bool overlap(const BufferView& a, const BufferView& b) {
  return a.buffer == b.buffer && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
}

uint8_t byte_from(int64_t value) {
  if (value >= 0 && value <= 255) return static_cast<uint8_t>(value);
  throw_error<ConfigError>("command_ring.fill", "value = {}; expected a byte, 0..255", value);
}

Step commit(Slot& self, nb::handle wait_for) {
  std::vector<TimelinePoint> points;
  if (PyList_Check(wait_for.ptr()) || PyTuple_Check(wait_for.ptr())) {
    for (const nb::handle item : wait_for) points.push_back(point_from(item));
  } else {
    points.push_back(point_from(wait_for));
  }
  std::erase_if(points, [](const TimelinePoint& point) { return point.timeline == nullptr; });
  return self.commit(points);
}

// Leaving the with block: commit, or abandon after an exception.
void leave(Slot& self, nb::handle type) {
  if (!self.is_open()) return;
  if (type.is_none()) {
    self.commit({});
  } else {
    self.abandon();
  }
}

}  // namespace

Timestamps Step::times() const {
  if (!end.reached()) {
    throw ConfigError("command_ring.step", "the step is not over; wait() for it first");
  }
  return commands->timestamps();
}

Slot::Slot(std::shared_ptr<Ring> ring, const runtime::RingSlot& slot)
    : ring_(std::move(ring)), slot_(slot) {}

Slot::~Slot() {
  if (open_) ring_->runtime().abandon(slot_);
}

void Slot::check_open() const {
  if (!open_) throw ConfigError("command_ring.slot", "the slot was committed or abandoned");
}

void Slot::check_empty(const char* what) const {
  check_open();
  if (!commands_) return;
  throw_error<ConfigError>("command_ring.slot", "{} comes before the slot's first command", what);
}

void Slot::record(uint64_t key) {
  check_empty("record()");
  commands_ = ring_->runtime().begin_recording(slot_, key, kLabel);
  recorded_ = true;
}

bool Slot::replay(uint64_t key) {
  check_empty("replay()");
  commands_ = ring_->runtime().recording(slot_, key);
  replayed_ = commands_ != nullptr;
  return replayed_;
}

CommandBuffer& Slot::encoding() {
  check_open();
  if (replayed_) {
    throw ConfigError("command_ring.slot", "a replayed recording takes no more commands");
  }
  if (!commands_) commands_ = ring_->runtime().begin_once(kLabel);
  return *commands_;
}

const BufferView& Slot::use(const ArrayBuffer& buffer) {
  if (buffer.memory()->device != ring_->device()) {
    throw ConfigError("command_ring.slot",
                      "the buffer is on another Device; give pool and ring the same one");
  }
  used_.push_back(buffer.memory());
  return buffer.view();
}

void Slot::copy(const ArrayBuffer& dst, const ArrayBuffer& src) {
  if (dst.bytes() != src.bytes()) {
    throw_error<ConfigError>("command_ring.copy", "{} bytes to {} bytes; take a view() of the part",
                             src.bytes(), dst.bytes());
  }
  if (dst.memory()->read_only()) throw ConfigError("command_ring.copy", "dst is read-only");
  if (overlap(dst.view(), src.view())) {
    throw ConfigError("command_ring.copy", "the two ranges overlap");
  }
  CommandBuffer& commands = encoding();
  const BufferView to = use(dst);
  commands.copy(to, use(src));
}

void Slot::fill(const ArrayBuffer& dst, uint8_t value) {
  if (dst.memory()->read_only()) throw ConfigError("command_ring.fill", "dst is read-only");
  CommandBuffer& commands = encoding();
  commands.fill(use(dst), value);
}

void Slot::barrier() {
  encoding().barrier();
}

Step Slot::commit(const std::vector<TimelinePoint>& waits) {
  check_open();
  runtime::CommandRing& ring = ring_->runtime();
  if (!commands_) commands_ = ring.begin_once(kLabel);
  TimelinePoint end;
  open_ = false;
  try {
    end = without_gil(
        [&] { return ring.commit(slot_, commands_, waits, replayed_, ring.in_flight() == 0); });
  } catch (...) {
    ring.abandon(slot_);
    throw;
  }
  ring_->keep(commands_, end, recorded_, std::move(used_));
  step_ = Step{end, commands_};
  return *step_;
}

void Slot::abandon() {
  check_open();
  ring_->runtime().abandon(slot_);
  open_ = false;
}

Ring::Ring(std::shared_ptr<Device> device, const RingSettings& settings)
    : device_(std::move(device)),
      settings_(settings),
      compute_(device_->new_queue(QueueKind::kCompute)),
      ring_(device_, compute_, settings_.get()) {}

Ring::~Ring() {
  const bool idle = without_gil([&] { return compute_->wait_idle(kPatience); });
  // A device that hangs may still write to it: never freed.
  if (!idle) new std::vector<Kept>(std::move(kept_));
}

std::unique_ptr<Slot> Ring::acquire(const std::shared_ptr<Ring>& self) {
  self->forget_done();
  const runtime::RingSlot slot = without_gil([&] { return self->ring_.acquire(); });
  return std::make_unique<Slot>(self, slot);
}

void Ring::keep(const std::shared_ptr<CommandBuffer>& commands, const TimelinePoint& end,
                bool recorded, std::vector<MemoryPtr> memory) {
  if (!memory.empty()) kept_.push_back({commands, end, recorded, std::move(memory)});
}

void Ring::forget_done() {
  std::erase_if(kept_, [](const Kept& kept) {
    return kept.commands.expired() || (!kept.recorded && kept.end.reached());
  });
}

void Ring::drop_recordings() {
  ring_.drop_recordings();
  forget_done();
}

void Ring::rebuild() {
  without_gil([&] {
    compute_ = device_->new_queue(QueueKind::kCompute);
    ring_.rebuild(compute_);
  });
  forget_done();
}

void bind_ring(nb::module_& module) {
  nb::class_<Step>(module, "Step", "Commands that were committed.")
      .def(
          "wait",
          [](const Step& self, std::optional<double> timeout) {
            return wait_interruptibly(to_timeout(timeout), [&](auto piece) {
              return self.end.wait(piece) == WaitResult::kReached;
            });
          },
          nb::arg("timeout") = nb::none(),
          "Until the device is done; False after `timeout` seconds. Raises DeviceError if it "
          "failed.")
      .def_prop_ro("done", [](const Step& self) { return self.end.reached(); })
      .def_prop_ro(
          "times_ns",
          [](const Step& self) {
            const Timestamps times = self.times();
            return std::pair(times.start_ns, times.end_ns);
          },
          "Start and end on the device's clock. Raises ValueError before the step is over.");

  nb::class_<Slot>(module, "RingSlot",
                   "An acquired slot: commands between two barriers may run in any order. As a "
                   "context manager it commits at the end, or is abandoned after an exception.")
      .def_prop_ro("index", &Slot::index)
      .def_prop_ro("step", &Slot::step, "Of commit(); None before.")
      .def("record", &Slot::record, nb::arg("key"),
           "Keeps the commands that follow in this slot, for replay(key).")
      .def("replay", &Slot::replay, nb::arg("key"),
           "Takes the slot's recording of `key` for commit(). False if it has none: record it.")
      .def("copy", &Slot::copy, nb::arg("dst"), nb::arg("src"),
           "Both of one size, not overlapping.")
      .def(
          "fill",
          [](Slot& self, const ArrayBuffer& dst, int64_t value) {
            self.fill(dst, byte_from(value));
          },
          nb::arg("dst"), nb::arg("value"), "Every byte of `dst` becomes `value` (0..255).")
      .def("barrier", &Slot::barrier, "What follows sees what came before.")
      .def("commit", &commit, nb::arg("wait_for") = nb::none(),
           nb::sig("def commit(self, wait_for: Step | Transfer | collections.abc.Sequence[Step | "
                   "Transfer] | None = None) -> Step"),
           "Hands the commands to the device, which runs them after `wait_for`. The buffers live "
           "as long as they may run.")
      .def("abandon", &Slot::abandon, "Gives the slot back without a step.")
      .def(
          "__enter__", [](nb::object self) { return self; },
          nb::sig("def __enter__(self) -> typing.Self"))
      .def(
          "__exit__",
          [](Slot& self, nb::handle type, nb::handle, nb::handle) { leave(self, type); },
          nb::arg("type").none(), nb::arg("value").none(), nb::arg("traceback").none(),
          nb::sig("def __exit__(self, type: object, value: object, traceback: object) -> None"));

  nb::class_<Ring> cls(module, "CommandBufferRing",
                       "The slots through which commands reach the device, 2 to 8 in flight, each "
                       "with its own recordings that are replayed. Thread-safe.");
  cls.attr("Config") = module.attr("CommandBufferRingConfig");
  cls.def("__init__", &init, nb::arg("config") = nb::none(), nb::kw_only(),
          nb::arg("device") = "auto", nb::arg("settings"),
          nb::sig("def __init__(self, config: CommandBufferRingConfig | dict[str, typing.Any] | "
                  "None = None, *, device: Device | str = 'auto', **settings: typing.Any) -> None"),
          "Settings may be given by keyword too. Raises ValueError for a setting out of range, "
          "RuntimeError if the device is not there.")
      .def("acquire", &Ring::acquire,
           "The next slot, once its last step is over and nobody holds it. Raises "
           "WaitTimeoutError after timeout_ms, DeviceError if a step failed: then rebuild().")
      .def_prop_ro("in_flight", [](Ring& self) { return self.runtime().in_flight(); })
      .def(
          "get_statistics", [](Ring& self) { return self.runtime().statistics(); },
          nb::sig("def get_statistics(self) -> CommandBufferRingStatistics"))
      .def("reset_statistics", [](Ring& self) { self.runtime().reset_statistics(); })
      .def(
          "reset", [](Ring& self) { self.runtime().reset_statistics(); },
          "The same as reset_statistics().")
      .def("drop_recordings", &Ring::drop_recordings,
           "Drops all recordings and the buffers they keep. Nothing may be acquired or in flight.")
      .def("rebuild", &Ring::rebuild, "Starts afresh after a DeviceError.")
      .def(
          "describe", [](Ring& self) { return self.runtime().describe(); },
          "The state of every slot, in words.")
      .def_prop_ro("config", &Ring::settings, nb::rv_policy::copy)
      .def_prop_ro("device", [](const Ring& self) { return DeviceHandle{self.device()}; });
}

}  // namespace krserve::python
