// CommandBufferRing: the runtime's command ring as a Python object, its slots and their steps.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <optional>
#include <vector>

#include "native/buffer.h"
#include "native/settings.h"
#include "runtime/command_ring/command_ring.h"

namespace krserve::python {

// A committed step.
struct Step {
  TimelinePoint end;
  std::shared_ptr<CommandBuffer> commands;

  // Start and end on the device's clock, of the commands' last execution. Throws ConfigError before
  // the step is over.
  Timestamps times() const;
};

class Ring;

// An acquired slot: takes commands, then one commit() or abandon().
class Slot {
 public:
  Slot(std::shared_ptr<Ring> ring, const runtime::RingSlot& slot);
  ~Slot();
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

  uint32_t index() const { return slot_.index; }
  void record(uint64_t key);
  bool replay(uint64_t key);
  void copy(const ArrayBuffer& dst, const ArrayBuffer& src);
  void fill(const ArrayBuffer& dst, uint8_t value);
  void barrier();
  Step commit(const std::vector<TimelinePoint>& waits);
  void abandon();
  bool is_open() const { return open_; }
  const std::optional<Step>& step() const { return step_; }

 private:
  void check_open() const;
  void check_empty(const char* what) const;
  CommandBuffer& encoding();
  const BufferView& use(const ArrayBuffer& buffer);

  std::shared_ptr<Ring> ring_;
  runtime::RingSlot slot_;
  bool open_ = true;
  bool replayed_ = false;
  bool recorded_ = false;
  std::shared_ptr<CommandBuffer> commands_;
  std::vector<MemoryPtr> used_;
  std::optional<Step> step_;
};

class Ring {
 public:
  Ring(std::shared_ptr<Device> device, const RingSettings& settings);
  // Waits up to ten seconds for what is in flight.
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  static std::unique_ptr<Slot> acquire(const std::shared_ptr<Ring>& self);
  // The memory that a step's commands use lives as long as they may run.
  void keep(const std::shared_ptr<CommandBuffer>& commands, const TimelinePoint& end, bool recorded,
            std::vector<MemoryPtr> memory);
  void drop_recordings();
  void rebuild();

  const std::shared_ptr<Device>& device() const { return device_; }
  const RingSettings& settings() const { return settings_; }
  runtime::CommandRing& runtime() { return ring_; }

 private:
  struct Kept {
    std::weak_ptr<CommandBuffer> commands;
    TimelinePoint end;
    bool recorded;
    std::vector<MemoryPtr> memory;
  };
  void forget_done();

  std::shared_ptr<Device> device_;
  RingSettings settings_;
  std::shared_ptr<Queue> compute_;
  runtime::CommandRing ring_;
  std::vector<Kept> kept_;
};

void bind_ring(nanobind::module_& module);

}  // namespace krserve::python
