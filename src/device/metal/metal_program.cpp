#include "device/metal/metal_program.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string_view>

#include "base/error.h"
#include "base/units.h"
#include "kernels/metal_kernels.h"
#include "kernels/ops/matmul.h"

namespace krserve {
namespace {

constexpr size_t kNamesInSummary = 8;

std::vector<kernels::metal::Launch> launches_of(const MetalCommandList& list,
                                                const MetalFacts& facts, uint64_t workspace) {
  std::vector<kernels::metal::Launch> launches;
  for (const MetalCommand& command : list.commands()) {
    switch (command.kind) {
      case MetalCommand::Kind::kDispatches: {
        const auto planned = kernels::metal::plan_launches(list.dispatches(command), facts.gpu,
                                                           reinterpret_cast<void*>(workspace));
        const size_t first = launches.size();
        launches.insert(launches.end(), planned.begin(), planned.end());
        // The workspace may be another run's.
        if (launches.size() > first) launches[first].barrier_before = true;
        break;
      }
      case MetalCommand::Kind::kCopy:
        launches.push_back(
            kernels::metal::copy_launch(command.dst.gpu, command.src.gpu, command.bytes));
        launches.back().barrier_before = command.barrier_before;
        break;
      case MetalCommand::Kind::kFill:
        launches.push_back(
            kernels::metal::fill_launch(command.dst.gpu, command.fill_value, command.bytes));
        launches.back().barrier_before = command.barrier_before;
        break;
    }
  }
  return launches;
}

// What a step costs beside others: multiply-adds of a matmul, threads of everything else. The
// measured rate makes it a time.
double work_of(const kernels::metal::Launch& launch) {
  const double threads =
      double(launch.grid.x) * launch.grid.y * launch.grid.z * double(launch.threads);
  return std::max(threads * 64.0, launch.work);
}

std::string summarize(const std::vector<kernels::metal::Launch>& launches) {
  std::string names;
  std::string_view last;
  size_t named = 0;
  for (const kernels::metal::Launch& launch : launches) {
    if (launch.name == last) continue;
    if (++named > kNamesInSummary) {
      names += ", ...";
      break;
    }
    last = launch.name;
    names += named > 1 ? ", " : ": ";
    names += last;
  }
  return fmt::format("{} launches{}", launches.size(), names);
}

MetalStep step_of(MetalContext& context, const kernels::metal::Launch& launch) {
  MetalStep step;
  step.pipeline = context.library.pipeline(launch.kernel);
  if (launch.threads > step.pipeline->max_total_threads_per_threadgroup()) {
    throw_error<DeviceError>("metal_device.kernel",
                             "{} needs threadgroups of {} threads; this GPU has at most {} for it",
                             launch.name, launch.threads,
                             step.pipeline->max_total_threads_per_threadgroup());
  }
  step.groups = {launch.grid.x, launch.grid.y, launch.grid.z};
  step.threads = {launch.threads, 1, 1};
  step.barrier_before = launch.barrier_before;
  step.work = work_of(launch);
  return step;
}

}  // namespace

void MetalCommandList::add_dispatch(const kernels::GpuDispatch& dispatch) {
  const bool first = commands_.empty() || commands_.back().kind != MetalCommand::Kind::kDispatches;
  if (first) commands_.emplace_back().first = dispatches_.size();
  ++commands_.back().count;
  dispatches_.push_back(dispatch);
  dispatches_.back().barrier_before = std::exchange(barrier_, false);
}

void MetalCommandList::add(MetalCommand command) {
  command.barrier_before = std::exchange(barrier_, false);
  commands_.push_back(command);
}

MetalProgram::MetalProgram(std::shared_ptr<MetalContext> context, const MetalCommandList& list,
                           std::shared_ptr<MetalScratch> workspace)
    : context_(std::move(context)), workspace_(std::move(workspace)) {
  const auto launches =
      launches_of(list, context_->facts, workspace_ ? workspace_->gpu_address : 0);
  steps_.reserve(launches.size());
  for (const kernels::metal::Launch& launch : launches) {
    MetalStep& step = steps_.emplace_back(step_of(*context_, launch));
    step.params_offset = (steps_.size() - 1) * uint64_t{kernels::metal::kParamsStride};
    work_ += step.work;
  }
  summary_ = summarize(launches);
  if (steps_.empty()) return;
  params_ = context_->scratch.take(steps_.size() * uint64_t{kernels::metal::kParamsStride});
  for (size_t i = 0; i < launches.size(); ++i) {
    std::memcpy(params_.contents + steps_[i].params_offset, &launches[i].params,
                sizeof(launches[i].params));
  }
}

MetalProgram::~MetalProgram() {
  if (params_.buffer) context_->scratch.give(std::move(params_));
}

std::vector<MetalPiece> MetalProgram::pieces(double work, size_t most) const {
  std::vector<MetalPiece> pieces(1);
  if (work_ <= work) {
    pieces[0] = {0, steps_.size(), work_};
    return pieces;
  }
  const double each = std::max(work, work_ / static_cast<double>(most) * 2);
  for (size_t i = 0; i < steps_.size(); ++i) {
    const MetalPiece& last = pieces.back();
    if (last.count > 0 && last.work + steps_[i].work > each && pieces.size() < most) {
      pieces.push_back({i, 0, 0});
    }
    ++pieces.back().count;
    pieces.back().work += steps_[i].work;
  }
  return pieces;
}

std::unique_ptr<MetalProgram> MetalPlanner::plan(const MetalCommandList& list,
                                                 const std::string& label) {
  try {
    return std::make_unique<MetalProgram>(context_, list, workspace_of(list));
  } catch (const std::invalid_argument& error) {
    throw_error<DeviceError>("queue.commit", "'{}': {}", label, error.what());
  }
}

// Counters in it are zero when it is new, and again after each launch that uses them.
std::shared_ptr<MetalScratch> MetalPlanner::workspace_of(const MetalCommandList& list) {
  uint64_t bytes = 0;
  for (const MetalCommand& command : list.commands()) {
    if (command.kind != MetalCommand::Kind::kDispatches) continue;
    bytes = std::max(
        bytes, kernels::metal::workspace_bytes(list.dispatches(command), context_->facts.gpu));
  }
  if (bytes == 0) return nullptr;
  const std::lock_guard lock(mutex_);
  if (workspace_ && workspace_->bytes >= bytes) return workspace_;
  MetalScratch taken = context_->scratch.take(bytes);
  std::memset(taken.contents, 0, taken.bytes);
  const auto give_back = [context = context_](MetalScratch* scratch) {
    context->scratch.give(std::move(*scratch));
    delete scratch;
  };
  workspace_ = std::shared_ptr<MetalScratch>(new MetalScratch(std::move(taken)), give_back);
  return workspace_;
}

}  // namespace krserve
