#include "device/metal/metal_transfer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/units.h"
#include "device/metal/metal_command_buffer.h"
#include "device/metal/metal_queue.h"
#include "device/metal/metal_timeline.h"

namespace krserve {
namespace {

constexpr uint64_t kStagingBytes = 4 * kMiB;

}  // namespace

MetalTransfer::MetalTransfer(std::shared_ptr<MetalContext> context)
    : context_(std::move(context)),
      queue_(std::make_unique<MetalQueue>(context_)),
      done_(std::make_shared<MetalTimeline>(context_)),
      staging_(context_->scratch.take(kStagingBytes)) {}

MetalTransfer::~MetalTransfer() {
  context_->scratch.give(std::move(staging_));
}

void MetalTransfer::run(const MetalCommand& command) {
  if (command.kind == MetalCommand::Kind::kFill || (command.dst.gpu != 0 && command.src.gpu != 0)) {
    return run_on_gpu(command);
  }
  command.dst.gpu != 0 ? upload(command) : download(command);
}

void MetalTransfer::run_on_gpu(const MetalCommand& command) {
  const auto commands = std::make_shared<MetalCommandBuffer>(context_, QueueKind::kCompute,
                                                             CommandBufferUse::kOnce, "transfer");
  commands->add(command);
  const TimelinePoint end{done_, ++value_};
  queue_->commit(commands, {}, {&end, 1});
  end.wait(kNoTimeout);
}

void MetalTransfer::upload(const MetalCommand& command) {
  for (uint64_t at = 0; at < command.bytes; at += staging_.bytes) {
    MetalCommand part = command;
    part.bytes = std::min(command.bytes - at, staging_.bytes);
    std::memcpy(staging_.contents, command.src.host + at, part.bytes);
    part.src = {staging_.gpu_address, staging_.contents};
    part.dst.gpu += at;
    run_on_gpu(part);
  }
}

void MetalTransfer::download(const MetalCommand& command) {
  for (uint64_t at = 0; at < command.bytes; at += staging_.bytes) {
    MetalCommand part = command;
    part.bytes = std::min(command.bytes - at, staging_.bytes);
    part.src.gpu += at;
    part.dst = {staging_.gpu_address, staging_.contents};
    run_on_gpu(part);
    std::memcpy(command.dst.host + at, staging_.contents, part.bytes);
  }
}

}  // namespace krserve
