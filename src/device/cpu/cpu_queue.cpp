#include "device/cpu/cpu_queue.h"

#include <utility>

#include "base/error.h"

namespace krserve {

CpuQueue::CpuQueue(QueueKind kind, uint32_t spin_us, Runner runner)
    : kind_(kind),
      runner_(std::move(runner)),
      thread_("cpu_queue", std::chrono::microseconds(spin_us)) {}

std::shared_ptr<CommandBuffer> CpuQueue::begin(CommandBufferUse use, std::string_view label) {
  return std::make_shared<CpuCommandBuffer>(use, label);
}

void CpuQueue::commit(const std::shared_ptr<CommandBuffer>& commands,
                      std::span<const TimelinePoint> waits,
                      std::span<const TimelinePoint> signals) {
  const auto list = std::dynamic_pointer_cast<CpuCommandBuffer>(commands);
  if (!list) {
    throw DeviceError("cpu_queue.commit", "the command buffer was not begun on this device");
  }
  list->lifecycle().mark_committed();
  thread_.add({[this, list] { runner_(*list); },
               [list](bool completed, Timestamps times) { list->mark_ended(completed, times); },
               {waits.begin(), waits.end()},
               {signals.begin(), signals.end()}});
}

}  // namespace krserve
