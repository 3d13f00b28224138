#include "native/transfers.h"

#include <fmt/format.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include <algorithm>

#include "base/error.h"
#include "native/device.h"
#include "native/gil.h"
#include "native/ring.h"

namespace krserve::python {
namespace {

using runtime::BlitPriority;

// Beyond so many unsettled transfers, those that have ended are looked for.
constexpr size_t kManyPending = 64;

BlitPriority priority_from(const std::string& name) {
  for (size_t i = 0; i < runtime::kBlitPriorities; ++i) {
    const auto priority = static_cast<BlitPriority>(i);
    if (name == runtime::to_string(priority)) return priority;
  }
  throw_error<ConfigError>("blit_queue.priority", "'{}'; expected step, kv or weights", name);
}

void check_bytes(const char* what, uint64_t array, uint64_t buffer) {
  if (array == buffer) return;
  throw_error<ConfigError>("blit_queue.submit",
                           "{}: the array has {} bytes and the buffer {}; take a view() of the "
                           "part that is meant",
                           what, array, buffer);
}

void init(TransferQueue* self, nb::handle config, nb::handle device, const nb::kwargs& settings) {
  auto read = read_settings<BlitQueueConfig>(config, settings);
  new (self) TransferQueue(device_from(device), read);
}

void settle_now(const TransferPtr& transfer) {
  try {
    Transfer::settle(transfer, std::chrono::nanoseconds::zero());
  } catch (const Error&) {
    return;  // kept for whoever waits for it
  }
}

}  // namespace

Transfer::~Transfer() {
  if (!done && out.is_valid()) without_gil([&] { queue->cancel(id); });
  out = {};
  without_gil([&] { queue.reset(); });
}

bool Transfer::settle(const TransferPtr& self, std::chrono::nanoseconds timeout) {
  if (!self->done) {
    std::exception_ptr error;
    bool reached = true;
    without_gil([&] {
      try {
        reached = self->queue->wait(self->id, timeout) == WaitResult::kReached;
      } catch (const Error&) {
        error = std::current_exception();
      }
    });
    if (!reached) return false;
    if (!self->done) self->error = error;
    self->done = true;
    self->memory.reset();
    self->out = {};
  }
  if (self->error) std::rethrow_exception(self->error);
  return true;
}

TransferQueue::TransferQueue(std::shared_ptr<Device> device, const BlitSettings& settings)
    : device_(std::move(device)), settings_(settings) {
  queue_ =
      without_gil([&] { return std::make_shared<runtime::BlitQueue>(device_, settings_.get()); });
}

TransferQueue::~TransferQueue() {
  pending_.clear();
  without_gil([&] { queue_.reset(); });
}

void TransferQueue::check_device(const ArrayBuffer& buffer) const {
  if (buffer.memory()->device == device_) return;
  throw ConfigError("blit_queue.submit",
                    "the buffer is on another Device; give pool and queue the same one");
}

TransferPtr TransferQueue::keep(TransferPtr transfer) {
  if (transfer->id == 0) {  // a store into shared memory, over already
    transfer->done = true;
    transfer->memory.reset();
    return transfer;
  }
  if (pending_.size() >= kManyPending) forget_done();
  pending_.push_back(transfer);
  return transfer;
}

void TransferQueue::forget_done() {
  const std::vector<TransferPtr> all = pending_;  // others may add meanwhile
  for (const TransferPtr& transfer : all) settle_now(transfer);
  std::erase_if(pending_, [](const TransferPtr& transfer) { return transfer->done; });
}

TransferPtr TransferQueue::upload(const ArrayBuffer& buffer, const HostArray& data,
                                  const TimelinePoint& after, BlitPriority priority) {
  check_device(buffer);
  check_bytes("upload", data.nbytes(), buffer.bytes());
  if (buffer.memory()->read_only()) {
    throw ConfigError("blit_queue.upload", "the buffer is over somebody else's memory: read-only");
  }
  auto transfer = std::make_shared<Transfer>();
  transfer->queue = queue_;
  transfer->memory = buffer.memory();
  const BufferView view = buffer.view();
  transfer->id = without_gil(
      [&] { return queue_->upload(view, data.data(), data.nbytes(), after, priority); });
  return keep(std::move(transfer));
}

TransferPtr TransferQueue::download(const ArrayBuffer& buffer, const WritableHostArray& out,
                                    const TimelinePoint& after, BlitPriority priority) {
  check_device(buffer);
  check_bytes("download", out.nbytes(), buffer.bytes());
  auto transfer = std::make_shared<Transfer>();
  transfer->queue = queue_;
  transfer->memory = buffer.memory();
  transfer->out = out;
  const BufferView view = buffer.view();
  transfer->id = without_gil(
      [&] { return queue_->download(out.data(), view, out.nbytes(), after, priority); });
  return keep(std::move(transfer));
}

bool TransferQueue::wait_all(std::chrono::nanoseconds timeout) {
  const bool reached =
      without_gil([&] { return queue_->wait_all(timeout); }) == WaitResult::kReached;
  forget_done();
  return reached;
}

void TransferQueue::cancel(const TransferPtr& transfer) {
  if (transfer->done) return;
  without_gil([&] { queue_->cancel(transfer->id); });
  if (transfer->out.is_valid() && !transfer->done) {
    transfer->error = std::make_exception_ptr(
        DeviceError("blit_queue.cancel", "the download was cancelled; nothing was written"));
    transfer->done = true;
    transfer->memory.reset();
    transfer->out = {};
  }
}

TimelinePoint point_from(nb::handle given) {
  if (given.is_none()) return {};
  Step step;
  if (nb::try_cast(given, step)) return step.end;
  TransferPtr transfer;
  if (!nb::try_cast(given, transfer)) throw nb::type_error("expected a Step, a Transfer or None");
  if (transfer->done) return {};
  return without_gil([&] { return transfer->queue->completion(transfer->id); });
}

void bind_transfers(nb::module_& module) {
  nb::class_<Transfer>(module, "Transfer", "A copy on its way between host and device.")
      .def(
          "wait",
          [](const TransferPtr& self, std::optional<double> timeout) {
            return Transfer::settle(self, to_timeout(timeout));
          },
          nb::arg("timeout") = nb::none(),
          "Until it has ended; False after `timeout` seconds. Raises what it failed of.")
      .def_prop_ro(
          "done",
          [](const TransferPtr& self) {
            if (!self->done) settle_now(self);
            return self->done;
          },
          "Whether it has ended, well or not.");

  nb::class_<TransferQueue> cls(module, "BlitQueue",
                                "Asynchronous copies between host and device, with staging memory, "
                                "priorities and back-pressure. Thread-safe.");
  cls.attr("Config") = module.attr("BlitQueueConfig");
  cls.def("__init__", &init, nb::arg("config") = nb::none(), nb::kw_only(),
          nb::arg("device") = "auto", nb::arg("settings"),
          nb::sig("def __init__(self, config: BlitQueueConfig | dict[str, typing.Any] | None = "
                  "None, *, device: Device | str = 'auto', **settings: typing.Any) -> None"),
          "Settings may be given by keyword too. Raises ValueError for a setting out of range, "
          "RuntimeError if the device is not there.")
      .def(
          "upload",
          [](TransferQueue& self, const ArrayBuffer& buffer, const HostArray& data,
             nb::handle after, const std::string& priority) {
            return self.upload(buffer, data, point_from(after), priority_from(priority));
          },
          nb::arg("buffer"), nb::arg("data").noconvert(), nb::kw_only(),
          nb::arg("after") = nb::none(), nb::arg("priority") = "step",
          nb::sig("def upload(self, buffer: Buffer, data: object, *, after: Step | Transfer | None "
                  "= None, priority: str = 'step') -> Transfer"),
          "Copies an array of the buffer's size (numpy, torch, mlx, bytes; contiguous) to it, not "
          "before `after`. `data` may be changed on return. `priority`: step, kv or weights.")
      .def(
          "download",
          [](TransferQueue& self, const ArrayBuffer& buffer, const WritableHostArray& out,
             nb::handle after, const std::string& priority) {
            return self.download(buffer, out, point_from(after), priority_from(priority));
          },
          nb::arg("buffer"), nb::arg("out").noconvert(), nb::kw_only(),
          nb::arg("after") = nb::none(), nb::arg("priority") = "step",
          nb::sig("def download(self, buffer: Buffer, out: object, *, after: Step | Transfer | "
                  "None = None, priority: str = 'step') -> Transfer"),
          "Copies the buffer to a writable array of its size, not before `after`. What is in `out` "
          "counts once the transfer was waited for.")
      .def(
          "wait",
          [](TransferQueue&, const TransferPtr& transfer, std::optional<double> timeout) {
            return Transfer::settle(transfer, to_timeout(timeout));
          },
          nb::arg("transfer"), nb::arg("timeout") = nb::none(), "The same as transfer.wait().")
      .def(
          "wait_all",
          [](TransferQueue& self, std::optional<double> timeout) {
            return self.wait_all(to_timeout(timeout));
          },
          nb::arg("timeout") = nb::none(),
          "Until everything pending has ended; False after `timeout` seconds.")
      .def("cancel", &TransferQueue::cancel, nb::arg("transfer"),
           "For a download nobody waits for any more: once this returns, its array is not written. "
           "An upload goes on.")
      .def(
          "add_compute",
          [](TransferQueue& self, const Step& step) { self.runtime().add_compute(step.times()); },
          nb::arg("step"), "Counts a step's time on the device for overlap_ratio. It must be done.")
      .def(
          "get_metrics", [](const TransferQueue& self) { return self.runtime().statistics(); },
          nb::sig("def get_metrics(self) -> BlitQueueMetrics"))
      .def("reset_metrics", [](TransferQueue& self) { self.runtime().reset_statistics(); })
      .def(
          "reset", [](TransferQueue& self) { self.runtime().reset_statistics(); },
          "The same as reset_metrics().")
      .def_prop_ro("config", &TransferQueue::settings, nb::rv_policy::copy)
      .def_prop_ro("device", [](const TransferQueue& self) { return DeviceHandle{self.device()}; });
}

}  // namespace krserve::python
