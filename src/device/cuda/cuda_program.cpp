#include "device/cuda/cuda_program.h"

#include <algorithm>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "kernels/cuda_kernels.h"

namespace krserve {
namespace {

// A graph's launch costs as much as two or three of its parts'.
constexpr size_t kSmallestGraph = 3;
constexpr size_t kNamesInSummary = 8;

cudaError_t launch(const kernels::GpuLaunch& launch, cudaStream_t stream, bool overlap) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = {launch.grid.x, launch.grid.y, launch.grid.z};
  config.blockDim = {launch.block.x, launch.block.y, launch.block.z};
  config.dynamicSmemBytes = launch.shared_bytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = overlap ? 1 : 0;
  void* params[] = {const_cast<std::byte*>(launch.params)};
  return cudaLaunchKernelExC(&config, launch.kernel, params);
}

std::string describe(const kernels::GpuLaunch& launch) {
  return fmt::format("{} (grid {}x{}x{}, block {}x{}x{}, {} B shared)", launch.name, launch.grid.x,
                     launch.grid.y, launch.grid.z, launch.block.x, launch.block.y, launch.block.z,
                     launch.shared_bytes);
}

std::string summarize(const std::vector<kernels::GpuLaunch>& launches, size_t others) {
  std::string names;
  std::string_view last;
  size_t named = 0;
  for (const kernels::GpuLaunch& launch : launches) {
    if (launch.name == last) continue;
    if (++named > kNamesInSummary) {
      names += ", ...";
      break;
    }
    last = launch.name;
    names += named > 1 ? ", " : ": ";
    names += last;
  }
  return fmt::format("{} launches, {} copies and fills{}", launches.size(), others, names);
}

}  // namespace

void CudaCommandList::add_dispatch(const kernels::GpuDispatch& dispatch) {
  const bool first = commands_.empty() || commands_.back().kind != CudaCommand::Kind::kDispatches;
  if (first) commands_.emplace_back().first = dispatches_.size();
  ++commands_.back().count;
  dispatches_.push_back(dispatch);
  dispatches_.back().barrier_before = barrier_ || first;
  barrier_ = false;
}

void CudaCommandList::add(CudaCommand command) {
  command.barrier_before = std::exchange(barrier_, false);
  recordable_ = recordable_ && command.recordable;
  commands_.push_back(command);
}

CudaProgram::CudaProgram(const CudaCommandList& list, const kernels::cuda::GpuFacts& facts,
                         std::shared_ptr<CudaBuffer> workspace, CudaCopyBatch copy_batch)
    : commands_(list.commands().begin(), list.commands().end()),
      workspace_(std::move(workspace)),
      copy_batch_(copy_batch) {
  size_t others = 0;
  for (CudaCommand& command : commands_) {
    if (command.kind != CudaCommand::Kind::kDispatches) {
      ++others;
      continue;
    }
    std::vector<kernels::GpuLaunch> planned = kernels::cuda::plan_launches(
        list.dispatches(command), facts, workspace_ ? workspace_->address() : nullptr);
    command.first = launches_.size();
    command.count = planned.size();
    if (launches_.empty()) {
      launches_ = std::move(planned);
    } else {
      launches_.insert(launches_.end(), planned.begin(), planned.end());
    }
  }
  parts_ = launches_.size() + others;
  summary_ = summarize(launches_, others);
  if (copy_batch_) batch_copies();
}

void CudaProgram::batch_copies() {
  const auto joins = [](const CudaCommand& command) {
    return command.kind == CudaCommand::Kind::kCopy && command.recordable;
  };
  std::vector<CudaCommand> out;
  for (auto at = commands_.begin(); at != commands_.end();) {
    auto end = std::next(at);
    while (joins(*at) && end != commands_.end() && joins(*end) && !end->barrier_before) ++end;
    if (std::distance(at, end) < 2) {
      out.push_back(*at++);
      continue;
    }
    CudaCommand& command = out.emplace_back(*at);
    command.kind = CudaCommand::Kind::kCopies;
    command.first = batches_.size();
    CudaCopies& batch = batches_.emplace_back();
    for (; at != end; ++at) {
      batch.dst.push_back(reinterpret_cast<CUdeviceptr>(at->dst));
      batch.src.push_back(reinterpret_cast<CUdeviceptr>(at->src));
      batch.bytes.push_back(at->bytes);
    }
  }
  commands_ = std::move(out);
}

CudaProgram::~CudaProgram() {
  if (graph_) cudaGraphExecDestroy(graph_);
}

cudaError_t CudaProgram::issue(cudaStream_t stream, std::string& error) const {
  if (!graph_) return issue_all(stream, true, error);
  const cudaError_t code = cudaGraphLaunch(graph_, stream);
  if (code != cudaSuccess) error = "graph of " + summary_;
  return code;
}

// A launch may only overlap one right before it.
cudaError_t CudaProgram::issue_all(cudaStream_t stream, bool may_overlap,
                                   std::string& error) const {
  for (const CudaCommand& command : commands_) {
    cudaError_t code = cudaSuccess;
    switch (command.kind) {
      case CudaCommand::Kind::kCopy:
        code = cudaMemcpyAsync(command.dst, command.src, command.bytes, command.copy_kind, stream);
        if (code != cudaSuccess) error = fmt::format("copy of {} bytes", command.bytes);
        break;
      case CudaCommand::Kind::kCopies:
        code = copy_batch_(batches_[command.first], stream);
        if (code != cudaSuccess) {
          error = fmt::format("batch of {} copies", batches_[command.first].bytes.size());
        }
        break;
      case CudaCommand::Kind::kFill:
        code = cudaMemsetAsync(command.dst, command.fill_value, command.bytes, stream);
        if (code != cudaSuccess) error = fmt::format("fill of {} bytes", command.bytes);
        break;
      case CudaCommand::Kind::kDispatches:
        for (size_t i = 0; i < command.count && code == cudaSuccess; ++i) {
          const kernels::GpuLaunch& one = launches_[command.first + i];
          code = launch(one, stream, may_overlap && i > 0 && one.overlaps_previous);
          if (code != cudaSuccess) error = describe(one);
        }
        break;
    }
    if (code != cudaSuccess) return code;
  }
  return cudaSuccess;
}

// The calling thread alone is kept from calls that do not go with a capture; it makes none.
cudaError_t CudaProgram::record(cudaStream_t capture, bool may_overlap, std::string& error) {
  cudaError_t code = cudaStreamBeginCapture(capture, cudaStreamCaptureModeThreadLocal);
  if (code != cudaSuccess) {
    error = "cudaStreamBeginCapture";
    return code;
  }
  code = issue_all(capture, may_overlap, error);
  cudaGraph_t graph = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(capture, &graph);
  if (code == cudaSuccess && ended != cudaSuccess) {
    error = "cudaStreamEndCapture";
    code = ended;
  }
  if (code == cudaSuccess) {
    code = cudaGraphInstantiate(&graph_, graph, 0);
    if (code != cudaSuccess) error = "cudaGraphInstantiate";
  }
  if (graph) cudaGraphDestroy(graph);
  if (code != cudaSuccess) {
    graph_ = nullptr;
    cudaGetLastError();
  }
  return code;
}

cudaError_t CudaProgram::make_graph(cudaStream_t capture, cudaStream_t run, std::string& error) {
  const bool overlaps = std::any_of(launches_.begin(), launches_.end(),
                                    [](const auto& one) { return one.overlaps_previous; });
  cudaError_t code = record(capture, overlaps, error);
  // A driver may know overlapping launches on streams and not in graphs.
  if (code != cudaSuccess && overlaps) code = record(capture, false, error);
  if (code == cudaSuccess) {
    code = cudaGraphUpload(graph_, run);
    if (code != cudaSuccess) error = "cudaGraphUpload";
  }
  if (code == cudaSuccess) launches_ = {};
  return code;
}

CudaPlanner::~CudaPlanner() {
  if (capture_) cudaStreamDestroy(capture_);
}

std::unique_ptr<CudaProgram> CudaPlanner::plan(const CudaCommandList& list, bool repeated,
                                               const std::string& label) {
  context_->make_current();
  const std::lock_guard lock(mutex_);
  std::unique_ptr<CudaProgram> program;
  try {
    program = std::make_unique<CudaProgram>(list, context_->facts.gpu, workspace_of(list),
                                            repeated ? CudaCopyBatch() : context_->copy_batch);
  } catch (const std::invalid_argument& refused) {  // kernels know no errors of ours
    throw_error<DeviceError>("cuda_queue.plan", "'{}': {}", label, refused.what());
  }
  if (!repeated || !list.is_recordable() || program->parts() < kSmallestGraph) return program;
  cudaError_t code = cudaSuccess;
  std::string error = "cudaStreamCreate";
  if (!capture_) code = cudaStreamCreateWithFlags(&capture_, cudaStreamNonBlocking);
  if (code == cudaSuccess) code = program->make_graph(capture_, run_, error);
  if (code == cudaSuccess) return program;
  context_->is_lost_after(code, error);
  throw_error<DeviceError>("cuda_queue.record", "'{}' ({}) cannot be made a graph: {} at {}", label,
                           program->summary(), cuda_error_text(code), error);
}

// The largest that any of the list's dispatches need, zeroed before the first of them runs.
std::shared_ptr<CudaBuffer> CudaPlanner::workspace_of(const CudaCommandList& list) {
  uint64_t bytes = 0;
  for (const CudaCommand& command : list.commands()) {
    if (command.kind != CudaCommand::Kind::kDispatches) continue;
    bytes = std::max(bytes,
                     kernels::cuda::workspace_bytes(list.dispatches(command), context_->facts.gpu));
  }
  if (bytes == 0) return nullptr;
  if (workspace_ && workspace_->size_bytes() >= bytes) return workspace_;
  auto larger = std::make_shared<CudaBuffer>(context_, bytes, Storage::kPrivate);
  if (const cudaError_t code = cudaMemsetAsync(larger->address(), 0, bytes, run_);
      code != cudaSuccess) {
    context_->is_lost_after(code, "the workspace");
    throw_error<DeviceError>("cuda_queue.plan", "a workspace of {} bytes cannot be cleared: {}",
                             bytes, cuda_error_text(code));
  }
  workspace_ = std::move(larger);
  return workspace_;
}

}  // namespace krserve
