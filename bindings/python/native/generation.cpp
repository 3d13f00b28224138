#include "native/generation.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <string_view>
#include <utility>

#include "native/gil.h"

namespace krserve::python {
namespace {

std::string_view kind_name(engine::ErrorKind kind) {
  switch (kind) {
    case engine::ErrorKind::kNone:
      return "";
    case engine::ErrorKind::kDevice:
      return "device";
    case engine::ErrorKind::kTimeout:
      return "timeout";
    case engine::ErrorKind::kOutOfMemory:
      return "out_of_memory";
    case engine::ErrorKind::kOther:
      break;
  }
  return "other";
}

nb::dict timings_of(const engine::RequestTimes& times) {
  const auto ms = [](uint64_t ns) { return static_cast<double>(ns) / 1e6; };
  nb::dict out;
  out["queue_ms"] = ms(times.queue_ns);
  out["prefill_ms"] = ms(times.prefill_ns);
  out["decode_ms"] = ms(times.decode_ns);
  out["ttft_ms"] = ms(times.ttft_ns);
  out["total_ms"] = ms(times.total_ns);
  return out;
}

bool wait(Generation& self, std::optional<double> seconds) {
  return wait_interruptibly(to_timeout(seconds),
                            [&](auto piece) { return self.inbox().wait(piece); });
}

}  // namespace

void Bell::ring(uint64_t token) {
  const std::lock_guard lock(mutex_);
  tokens_.push_back(token);
  rung_.notify_one();
}

std::optional<std::vector<uint64_t>> Bell::wait() {
  std::unique_lock lock(mutex_);
  rung_.wait(lock, [this] { return closed_ || !tokens_.empty(); });
  if (tokens_.empty()) return std::nullopt;
  return std::exchange(tokens_, {});
}

void Bell::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  rung_.notify_all();
}

void Inbox::push(engine::Chunk&& chunk) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = chunks_.empty();
    finished_ = finished_ || chunk.finish.has_value();
    chunks_.push_back(std::move(chunk));
    arrived_.notify_all();
  }
  if (first && bell_) bell_->ring(token_);
}

std::vector<engine::Chunk> Inbox::take() {
  const std::lock_guard lock(mutex_);
  std::vector<engine::Chunk> all(std::make_move_iterator(chunks_.begin()),
                                 std::make_move_iterator(chunks_.end()));
  chunks_.clear();
  return all;
}

bool Inbox::wait(std::chrono::nanoseconds timeout) {
  std::unique_lock lock(mutex_);
  return arrived_.wait_for(lock, timeout, [this] { return !chunks_.empty() || finished_; });
}

bool Inbox::is_finished() {
  const std::lock_guard lock(mutex_);
  return finished_;
}

Generation::Generation(std::weak_ptr<engine::Engine> engine, engine::RequestId id,
                       std::shared_ptr<Inbox> inbox)
    : engine_(std::move(engine)), id_(id), inbox_(std::move(inbox)) {}

Generation::~Generation() {
  if (!inbox_->is_finished()) cancel();
}

// The last reference to an engine may go here, which ends it.
void Generation::cancel() {
  without_gil([&] {
    if (const auto engine = engine_.lock()) engine->cancel(id_);
  });
}

void bind_generation(nb::module_& module) {
  using engine::Chunk;
  nb::class_<Chunk>(module, "GenerationChunk", "A piece of output; the last has finish_reason.")
      .def_ro("text", &Chunk::text)
      .def_ro("tokens", &Chunk::tokens)
      .def_prop_ro(
          "finish_reason",
          [](const Chunk& self) -> std::optional<std::string> {
            if (!self.finish) return std::nullopt;
            return engine::to_string(*self.finish);
          },
          "stop, length, cancelled or error; None before the last chunk.")
      .def_ro("error", &Chunk::error)
      .def_prop_ro("error_kind",
                   [](const Chunk& self) { return std::string(kind_name(self.error_kind)); })
      .def_ro("prompt_tokens", &Chunk::prompt_tokens)
      .def_ro("completion_tokens", &Chunk::completion_tokens)
      .def_ro("cached_tokens", &Chunk::cached_tokens)
      .def_prop_ro(
          "timings", [](const Chunk& self) { return timings_of(self.times); },
          nb::sig("def timings(self) -> dict[str, float]"));

  nb::class_<Bell>(module, "Bell", "Wakes a thread when any of many generations has new chunks.")
      .def(nb::init<>())
      .def(
          "wait", [](Bell& self) { return without_gil([&] { return self.wait(); }); },
          "The tokens of generations with new chunks; None once closed.")
      .def("close", &Bell::close);

  nb::class_<Generation>(module, "Generation", "One running request; cancelled when dropped.")
      .def("wait", &wait, nb::arg("timeout") = nb::none(),
           "Whether chunks are there, or it has finished, within `timeout` seconds.")
      .def(
          "take", [](Generation& self) { return self.inbox().take(); },
          "The chunks that have arrived since the last call.")
      .def_prop_ro("finished", [](Generation& self) { return self.inbox().is_finished(); })
      .def("cancel", &Generation::cancel);
}

}  // namespace krserve::python
