// From commands to what Metal runs: kernel launches with their parameters in memory, cut into
// pieces that are short enough for the system.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "device/metal/metal_context.h"
#include "kernels/gpu_launch.h"

namespace krserve {

// Where a command reads or writes.
struct MetalRange {
  uint64_t gpu = 0;           // 0: the GPU does not reach it
  std::byte* host = nullptr;  // null: the host does not
};

struct MetalCommand {
  enum class Kind : uint8_t { kDispatches, kCopy, kFill };

  Kind kind = Kind::kDispatches;
  uint8_t fill_value = 0;
  bool barrier_before = false;
  size_t first = 0;  // of the list's dispatches, for kDispatches
  size_t count = 0;
  MetalRange dst;
  MetalRange src;
  uint64_t bytes = 0;
};

// What was encoded. Dispatches without a copy or fill between them are one command.
class MetalCommandList {
 public:
  void add_dispatch(const kernels::GpuDispatch& dispatch);
  void add(MetalCommand command);
  void add_barrier() { barrier_ = true; }

  std::span<const MetalCommand> commands() const { return commands_; }
  std::span<const kernels::GpuDispatch> dispatches(const MetalCommand& command) const {
    return std::span(dispatches_).subspan(command.first, command.count);
  }

 private:
  std::vector<MetalCommand> commands_;
  std::vector<kernels::GpuDispatch> dispatches_;
  bool barrier_ = false;
};

struct MetalStep {
  metal::MTLComputePipelineState* pipeline = nullptr;
  metal::MTLSize groups{};
  metal::MTLSize threads{};
  uint64_t params_offset = 0;
  bool barrier_before = false;
  double work = 0;  // a measure of its time, in multiply-adds or bytes
};

// Steps first .. first + count; what is estimated to take the budget's time, or a single step.
struct MetalPiece {
  size_t first = 0;
  size_t count = 0;
  double work = 0;
};

class MetalProgram {
 public:
  // `workspace` is kept as long as the program. Throws DeviceError, OutOfMemoryError.
  MetalProgram(std::shared_ptr<MetalContext> context, const MetalCommandList& list,
               std::shared_ptr<MetalScratch> workspace);
  ~MetalProgram();
  MetalProgram(const MetalProgram&) = delete;
  MetalProgram& operator=(const MetalProgram&) = delete;

  std::span<const MetalStep> steps() const { return steps_; }
  const MetalScratch& params() const { return params_; }
  // At most `most` pieces of at most `work` each, if steps are not longer; at least one, which may
  // be empty.
  std::vector<MetalPiece> pieces(double work, size_t most) const;
  // "212 launches: rms_norm, matmul, ...".
  const std::string& summary() const { return summary_; }

 private:
  const std::shared_ptr<MetalContext> context_;
  const std::shared_ptr<MetalScratch> workspace_;
  std::vector<MetalStep> steps_;
  MetalScratch params_;
  double work_ = 0;
  std::string summary_;
};

// Makes the programs of one queue, which share its workspace: they run one after the other.
// Thread-safe.
class MetalPlanner {
 public:
  explicit MetalPlanner(std::shared_ptr<MetalContext> context) : context_(std::move(context)) {}
  MetalPlanner(const MetalPlanner&) = delete;
  MetalPlanner& operator=(const MetalPlanner&) = delete;

  // Throws DeviceError, OutOfMemoryError.
  std::unique_ptr<MetalProgram> plan(const MetalCommandList& list, const std::string& label);

 private:
  std::shared_ptr<MetalScratch> workspace_of(const MetalCommandList& list);

  const std::shared_ptr<MetalContext> context_;
  std::mutex mutex_;
  std::shared_ptr<MetalScratch> workspace_;
};

}  // namespace krserve
