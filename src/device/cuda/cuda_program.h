// From commands to what a stream runs: launches, copies and fills one by one, or a CUDA graph.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "device/cuda/cuda_context.h"
#include "kernels/gpu_launch.h"

namespace krserve {

struct CudaCommand {
  enum class Kind : uint8_t { kDispatches, kCopy, kCopies, kFill };

  Kind kind = Kind::kDispatches;
  uint8_t fill_value = 0;
  bool barrier_before = false;  // of a copy
  bool recordable = true;       // a graph can hold it
  cudaMemcpyKind copy_kind = cudaMemcpyDefault;
  // kDispatches: those of the list, and in a program its launches, from `first`. kCopies, only in
  // a program: `first` of its batches.
  size_t first = 0;
  size_t count = 0;
  std::byte* dst = nullptr;
  const std::byte* src = nullptr;
  uint64_t bytes = 0;
};

// What was encoded. Dispatches without a copy or fill between them are one command.
class CudaCommandList {
 public:
  void add_dispatch(const kernels::GpuDispatch& dispatch);
  void add(CudaCommand command);
  void add_barrier() { barrier_ = true; }

  std::span<const CudaCommand> commands() const { return commands_; }
  std::span<const kernels::GpuDispatch> dispatches(const CudaCommand& command) const {
    return std::span(dispatches_).subspan(command.first, command.count);
  }
  bool is_recordable() const { return recordable_; }

 private:
  std::vector<CudaCommand> commands_;
  std::vector<kernels::GpuDispatch> dispatches_;
  bool barrier_ = false;
  bool recordable_ = true;
};

class CudaProgram {
 public:
  // `workspace` is kept as long as the program. With `copy_batch`, which a graph cannot hold,
  // copies that no barrier parts are one batch.
  CudaProgram(const CudaCommandList& list, const kernels::cuda::GpuFacts& facts,
              std::shared_ptr<CudaBuffer> workspace, CudaCopyBatch copy_batch);
  ~CudaProgram();
  CudaProgram(const CudaProgram&) = delete;
  CudaProgram& operator=(const CudaProgram&) = delete;

  // Puts everything on the stream, or the graph if there is one. On failure `error` names the part.
  cudaError_t issue(cudaStream_t stream, std::string& error) const;
  // Records it on `capture`, a stream with nothing else on it; `run` is where it is going to run.
  // Only parameters that the graph holds itself are needed from then on.
  cudaError_t make_graph(cudaStream_t capture, cudaStream_t run, std::string& error);
  // Launches, copies and fills.
  size_t parts() const { return parts_; }
  // "212 launches, 1 copy or fill: rms_norm, matmul, ...".
  const std::string& summary() const { return summary_; }

 private:
  void batch_copies();
  cudaError_t issue_all(cudaStream_t stream, bool may_overlap, std::string& error) const;
  cudaError_t record(cudaStream_t capture, bool may_overlap, std::string& error);

  std::vector<CudaCommand> commands_;
  std::vector<kernels::GpuLaunch> launches_;
  std::vector<CudaCopies> batches_;
  std::shared_ptr<CudaBuffer> workspace_;
  const CudaCopyBatch copy_batch_;
  size_t parts_ = 0;
  std::string summary_;
  cudaGraphExec_t graph_ = nullptr;
};

// Makes the programs of one queue, which share its workspace: they run one after the other.
// Thread-safe.
class CudaPlanner {
 public:
  // `run`: the queue's stream, which outlives it.
  CudaPlanner(std::shared_ptr<CudaContext> context, cudaStream_t run)
      : context_(std::move(context)), run_(run) {}
  ~CudaPlanner();
  CudaPlanner(const CudaPlanner&) = delete;
  CudaPlanner& operator=(const CudaPlanner&) = delete;

  // `repeated`: as a graph where that pays. Throws DeviceError, OutOfMemoryError.
  std::unique_ptr<CudaProgram> plan(const CudaCommandList& list, bool repeated,
                                    const std::string& label);

 private:
  std::shared_ptr<CudaBuffer> workspace_of(const CudaCommandList& list);

  const std::shared_ptr<CudaContext> context_;
  const cudaStream_t run_;
  std::mutex mutex_;
  cudaStream_t capture_ = nullptr;
  std::shared_ptr<CudaBuffer> workspace_;
};

}  // namespace krserve
