// CUDA's functions, as the fake runtime has them.
#include <cstring>
#include <string_view>
#include <tuple>
#include <utility>

#include "cuda.h"
#include "fake_runtime.h"

namespace krserve::fake_cuda {
namespace {

Runtime& rt() {
  return Runtime::get();
}

using Kind = Runtime::Kind;

// Whether the memory is where the kind of copy says.
bool kind_fits(cudaMemcpyKind kind, Kind dst, Kind src) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  return to_device == (dst == Kind::kDevice) && from_device == (src == Kind::kDevice);
}

cudaError_t copy(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind,
                 cudaStream_t stream) {
  const Kind to = rt().kind_of(dst, bytes);
  const Kind from = rt().kind_of(src, bytes);
  if (!kind_fits(kind, to, from)) return cudaErrorInvalidValue;
  const bool waits =
      to == Kind::kPageable || from == Kind::kPageable || kind == cudaMemcpyHostToHost;
  if (waits && Runtime::capturing()) {
    Runtime::capturing()->capture->valid = false;
    return cudaErrorStreamCaptureUnsupported;
  }
  const cudaError_t code =
      rt().enqueue(stream, {[=] { std::memcpy(dst, src, bytes); }, nullptr, nullptr});
  return code == cudaSuccess && waits ? rt().drain(stream) : code;
}

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, void** params) {
  const dim3 block = config.blockDim;
  const dim3 grid = config.gridDim;
  if (grid.x * grid.y * grid.z == 0 || block.x * block.y * block.z == 0 ||
      block.x * block.y * block.z > 1024) {
    return cudaErrorInvalidConfiguration;
  }
  if (Runtime::capturing() && config.numAttrs > 0 && !rt().options().overlap_in_capture) {
    Runtime::capturing()->capture->valid = false;
    return cudaErrorNotSupported;
  }
  auto copied = std::make_shared<std::vector<std::byte>>(kParamsBytes);
  std::memcpy(copied->data(), params[0], kParamsBytes);
  const auto function = reinterpret_cast<Kernel>(const_cast<void*>(kernel));
  return rt().enqueue(config.stream, {[=] { function(copied->data()); }, nullptr, nullptr});
}

cudaError_t end_capture(cudaStream_t stream, cudaGraph_t* graph) {
  if (Runtime::capturing() != stream) return cudaErrorStreamCaptureInvalidated;
  Runtime::capturing() = nullptr;
  const std::lock_guard lock(rt().mutex);
  cudaGraph_t captured = std::exchange(stream->capture, nullptr);
  if (captured->valid) {
    *graph = captured;
    return cudaSuccess;
  }
  delete captured;
  *graph = nullptr;
  return cudaErrorStreamCaptureInvalidated;
}

cudaError_t launch_graph(cudaGraphExec_t exec, cudaStream_t stream) {
  ++*exec->in_flight;
  auto run = [nodes = exec->nodes, in_flight = exec->in_flight] {
    for (const auto& node : *nodes) node();
    --*in_flight;
  };
  return rt().enqueue(stream, {std::move(run), nullptr, nullptr});
}

CUresult get_attribute(int* value, CUdevice_attribute, CUdevice) {
  *value = rt().options().stream_memory_operations ? 1 : 0;
  return CUDA_SUCCESS;
}

CUresult write_value(CUstream stream, CUdeviceptr address, cuuint64_t value, unsigned int) {
  auto* const word = reinterpret_cast<uint64_t*>(address);
  cudaError_t code = rt().enter("cuStreamWriteValue64");
  if (code == cudaSuccess && rt().kind_of(word, sizeof(*word)) != Kind::kPinned) {
    code = cudaErrorInvalidValue;
  }
  if (code == cudaSuccess) {
    code = rt().enqueue(
        stream, {[=] { __atomic_store_n(word, value, __ATOMIC_RELEASE); }, nullptr, nullptr});
  }
  return static_cast<CUresult>(code);
}

// In an order of its own.
CUresult copy_batch(CUdeviceptr* dst, CUdeviceptr* src, size_t* bytes, size_t count,
                    CUmemcpyAttributes* attributes, size_t* first, size_t attribute_count, size_t*,
                    CUstream stream) {
  cudaError_t code = rt().enter("cuMemcpyBatchAsync");
  const bool valid = count > 0 && attribute_count == 1 && first[0] == 0 &&
                     attributes->srcAccessOrder == CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
  if (code == cudaSuccess && !valid) code = cudaErrorInvalidValue;
  if (code == cudaSuccess && Runtime::capturing()) {
    Runtime::capturing()->capture->valid = false;
    code = cudaErrorStreamCaptureUnsupported;
  }
  std::vector<std::tuple<void*, const void*, size_t>> copies;
  for (size_t i = count; code == cudaSuccess && i-- > 0;) {
    auto* const to = reinterpret_cast<void*>(dst[i]);
    const auto* const from = reinterpret_cast<const void*>(src[i]);
    const Kind dst_kind = rt().kind_of(to, bytes[i]);
    const Kind src_kind = rt().kind_of(from, bytes[i]);
    if (bytes[i] == 0 || dst_kind == Kind::kPageable || src_kind == Kind::kPageable) {
      code = cudaErrorInvalidValue;
    }
    copies.emplace_back(to, from, bytes[i]);
  }
  if (code == cudaSuccess) {
    auto run = [copies] {
      for (const auto& [to, from, size] : copies) std::memcpy(to, from, size);
    };
    code = rt().enqueue(stream, {std::move(run), nullptr, nullptr});
  }
  return static_cast<CUresult>(code);
}

// The error, or what `then` returns.
template <class F>
cudaError_t call(const char* name, F then) {
  const cudaError_t code = rt().enter(name);
  return rt().leave(code == cudaSuccess ? then() : code);
}

template <class F>
cudaError_t unsafe_call(const char* name, F then) {
  const cudaError_t code = rt().enter_unsafe(name);
  return rt().leave(code == cudaSuccess ? then() : code);
}

}  // namespace
}  // namespace krserve::fake_cuda

using namespace krserve::fake_cuda;

extern "C" {

const char* cudaGetErrorName(cudaError_t code) {
  switch (code) {
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    default:
      return "cudaErrorOther";
  }
}

const char* cudaGetErrorString(cudaError_t) {
  return "as the test made it";
}

cudaError_t cudaGetLastError() {
  return rt().take_last_error();
}

cudaError_t cudaGetDeviceCount(int* count) {
  return call("cudaGetDeviceCount", [&] {
    *count = rt().options().devices;
    return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
  });
}

cudaError_t cudaSetDevice(int device) {
  return call("cudaSetDevice", [&] { return device == 0 ? cudaSuccess : cudaErrorInvalidValue; });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  return call("cudaGetDeviceProperties", [&] {
    std::strcpy(properties->name, "Fake GPU");
    properties->totalGlobalMem = kMemoryBytes;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  return call("cudaDeviceGetAttribute", [&] {
    *value = attribute == cudaDevAttrComputeCapabilityMajor   ? 9
             : attribute == cudaDevAttrComputeCapabilityMinor ? 0
             : attribute == cudaDevAttrMultiProcessorCount    ? 4
                                                              : 48 << 10;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return call("cudaDeviceGetStreamPriorityRange", [&] {
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDriverEntryPoint(const char* name, void** function, unsigned long long,
                                    cudaDriverEntryPointQueryResult* result) {
  return call("cudaGetDriverEntryPoint", [&] {
    const std::string_view asked = name;
    *result = cudaDriverEntryPointSuccess;
    if (asked == "cuDeviceGetAttribute") {
      *function = reinterpret_cast<void*>(&get_attribute);
    } else if (asked == "cuStreamWriteValue64") {
      *function = reinterpret_cast<void*>(&write_value);
    } else if (asked == "cuMemcpyBatchAsync" && rt().options().copy_batches) {
      *function = reinterpret_cast<void*>(&copy_batch);
    } else {
      *result = cudaDriverEntryPointSymbolNotFound;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return unsafe_call("cudaMalloc", [&] { return rt().allocate(pointer, bytes, Kind::kDevice); });
}

// Memory is freed even if an error is made: the caller cannot try again.
cudaError_t cudaFree(void* pointer) {
  const cudaError_t code = rt().enter_unsafe("cudaFree");
  const cudaError_t released = rt().release(pointer, Kind::kDevice);
  return rt().leave(code == cudaSuccess ? released : code);
}

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned int) {
  return unsafe_call("cudaHostAlloc", [&] { return rt().allocate(pointer, bytes, Kind::kPinned); });
}

cudaError_t cudaFreeHost(void* pointer) {
  const cudaError_t code = rt().enter_unsafe("cudaFreeHost");
  const cudaError_t released = rt().release(pointer, Kind::kPinned);
  return rt().leave(code == cudaSuccess ? released : code);
}

cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
  return call("cudaMemGetInfo", [&] {
    *available = rt().available_bytes();
    *total = kMemoryBytes;
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpyAsync(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return call("cudaMemcpyAsync", [&] { return copy(dst, src, bytes, kind, stream); });
}

cudaError_t cudaMemsetAsync(void* dst, int value, size_t bytes, cudaStream_t stream) {
  return call("cudaMemsetAsync", [&] {
    if (rt().kind_of(dst, bytes) == Kind::kPageable) return cudaErrorInvalidValue;
    return rt().enqueue(stream, {[=] { std::memset(dst, value, bytes); }, nullptr, nullptr});
  });
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* kernel,
                                void** params) {
  return call("cudaLaunchKernelExC", [&] { return launch(*config, kernel, params); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned int) {
  return unsafe_call("cudaStreamCreate", [&] {
    *stream = rt().new_stream();
    return cudaSuccess;
  });
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned int flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const cudaError_t code = rt().enter("cudaStreamDestroy");
  rt().destroy(stream);
  return rt().leave(code);
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return unsafe_call("cudaStreamQuery",
                     [&] { return rt().is_busy(stream) ? cudaErrorNotReady : cudaSuccess; });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return unsafe_call("cudaStreamSynchronize", [&] { return rt().drain(stream); });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int) {
  return call("cudaStreamWaitEvent",
              [&] { return rt().enqueue(stream, {nullptr, rt().latest_moment(event), nullptr}); });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int) {
  return call("cudaEventCreate", [&] {
    *event = new CUevent_st;
    return cudaSuccess;
  });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const cudaError_t code = rt().enter("cudaEventDestroy");
  delete event;
  return rt().leave(code);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return call("cudaEventRecord",
              [&] { return rt().enqueue(stream, {nullptr, nullptr, rt().begin_moment(event)}); });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return unsafe_call("cudaEventQuery", [&] {
    const std::lock_guard lock(rt().mutex);
    return !event->latest || event->latest->over ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  return call("cudaEventElapsedTime", [&] {
    const std::lock_guard lock(rt().mutex);
    if (!start->latest || !end->latest) return cudaErrorInvalidResourceHandle;
    if (!start->latest->over || !end->latest->over) return cudaErrorNotReady;
    *ms = static_cast<float>((end->latest->device_ns - start->latest->device_ns) / 1e6);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  return call("cudaStreamBeginCapture", [&] {
    if (Runtime::capturing() || rt().is_busy(stream)) return cudaErrorStreamCaptureUnsupported;
    const std::lock_guard lock(rt().mutex);
    stream->capture = new CUgraph_st;
    stream->capturer = std::this_thread::get_id();
    Runtime::capturing() = stream;
    return cudaSuccess;
  });
}

// Ends the capture even if an error is made.
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const cudaError_t code = rt().enter("cudaStreamEndCapture");
  const cudaError_t ended = end_capture(stream, graph);
  return rt().leave(code == cudaSuccess ? ended : code);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  return unsafe_call("cudaGraphInstantiate", [&] {
    *exec = new CUgraphExec_st;
    (*exec)->nodes = std::make_shared<std::vector<std::function<void()>>>(graph->nodes);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
  return unsafe_call("cudaGraphUpload", [] { return cudaSuccess; });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return unsafe_call("cudaGraphLaunch", [&] { return launch_graph(exec, stream); });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  const cudaError_t code = rt().enter("cudaGraphExecDestroy");
  if (code == cudaSuccess && *exec->in_flight > 0) rt().add_violation("graph destroyed in flight");
  delete exec;
  return rt().leave(code);
}

}  // extern "C"
