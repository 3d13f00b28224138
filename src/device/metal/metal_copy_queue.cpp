#include "device/metal/metal_copy_queue.h"

#include <cstring>
#include <utility>

#include "base/error.h"
#include "device/metal/metal_command_buffer.h"
#include "device/metal/metal_queue.h"
#include "device/metal/metal_transfer.h"

namespace krserve {

MetalCopyQueue::MetalCopyQueue(std::shared_ptr<MetalContext> context, QueueKind kind)
    : context_(std::move(context)), kind_(kind), thread_("metal_queue", {}) {
  context_->throw_if_lost("metal_device.new_queue");
}

MetalCopyQueue::~MetalCopyQueue() = default;

std::shared_ptr<CommandBuffer> MetalCopyQueue::begin(CommandBufferUse use, std::string_view label) {
  return std::make_shared<MetalCommandBuffer>(context_, kind_, use, label);
}

void MetalCopyQueue::commit(const std::shared_ptr<CommandBuffer>& commands,
                            std::span<const TimelinePoint> waits,
                            std::span<const TimelinePoint> signals) {
  const auto mine = check_commit(*context_, commands, waits, signals);
  if (mine->kind() == QueueKind::kCompute) {
    throw DeviceError("metal_queue.commit", "the command buffer was begun on a compute queue");
  }
  mine->lifecycle().mark_committed();
  thread_.add({[this, mine] { run(*mine); },
               [mine](bool completed, Timestamps times) { mine->mark_ended(completed, times); },
               {waits.begin(), waits.end()},
               {signals.begin(), signals.end()}});
}

void MetalCopyQueue::run(const MetalCommandBuffer& commands) {
  for (const MetalCommand& command : commands.list().commands()) {
    const bool fill = command.kind == MetalCommand::Kind::kFill;
    if (fill && command.dst.host) {
      std::memset(command.dst.host, command.fill_value, command.bytes);
    } else if (!fill && command.dst.host && command.src.host) {
      std::memcpy(command.dst.host, command.src.host, command.bytes);
    } else {
      if (!transfer_) transfer_ = std::make_unique<MetalTransfer>(context_);
      transfer_->run(command);
    }
  }
}

}  // namespace krserve
