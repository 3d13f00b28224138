// A CUDA runtime without a GPU: streams that run in any order that CUDA allows, on two threads, and
// refuse what CUDA refuses. Kernels are host functions.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "cuda_runtime_api.h"

namespace krserve::fake_cuda {

// What a launch calls, with the first parameter.
using Kernel = void (*)(const std::byte* params);
// Bytes that a launch copies of its parameter.
inline constexpr size_t kParamsBytes = 1024;
inline constexpr size_t kMemoryBytes = size_t{1} << 30;

// One execution of an event; later ones do not touch it.
struct Moment {
  bool over = false;
  double device_ns = 0;
};

struct Operation {
  std::function<void()> run;
  std::shared_ptr<Moment> waits_for;
  std::shared_ptr<Moment> reaches;
};

struct Options {
  int devices = 1;
  bool stream_memory_operations = true;
  bool copy_batches = true;
  bool overlap_in_capture = true;
};

// Calls of one name, and what they shall do.
class Runtime {
 public:
  static Runtime& get();

  // Every stream empty, no errors, the options as given. Handles of before stay valid.
  void reset(const Options& options = {});
  const Options& options() const { return options_; }

  // Nothing runs while frozen, as if a kernel hung.
  void freeze(bool frozen);
  // From now on every call and all work fails with it.
  void break_device(cudaError_t code);
  // The n-th call from now on (of `name`, if not empty) fails with `code`, and all after it too if
  // `for_good`.
  void fail_call(uint64_t nth, cudaError_t code, bool for_good, std::string name = "");
  uint64_t calls(const std::string& name);
  // Calls since the last reset().
  uint64_t all_calls();
  // What went wrong that CUDA would not have told about: used after free, destroyed in flight.
  std::vector<std::string> violations();
  void add_violation(const std::string& what);

  // The API's side.

  cudaError_t enter(const char* name);
  // The same for calls that a thread must not make while it captures.
  cudaError_t enter_unsafe(const char* name);
  cudaError_t leave(cudaError_t code);
  cudaError_t take_last_error();
  // The stream that the calling thread captures, or null.
  static cudaStream_t& capturing();

  cudaError_t enqueue(cudaStream_t stream, Operation operation);
  // Until all that is on the stream (null: on any) is over.
  cudaError_t drain(cudaStream_t stream);

  cudaStream_t new_stream();
  void destroy(cudaStream_t stream);
  bool is_busy(cudaStream_t stream);
  std::shared_ptr<Moment> begin_moment(cudaEvent_t event);
  std::shared_ptr<Moment> latest_moment(cudaEvent_t event);

  enum class Kind { kDevice, kPinned, kPageable };
  cudaError_t allocate(void** pointer, size_t bytes, Kind kind);
  cudaError_t release(void* pointer, Kind kind);
  Kind kind_of(const void* pointer, size_t bytes);
  size_t available_bytes();

  std::mutex mutex;
  std::condition_variable changed;

 private:
  struct Block {
    size_t bytes;
    Kind kind;
    std::unique_ptr<std::byte[]> storage;
  };

  Runtime();
  void work(uint32_t seed);
  cudaStream_t pick(std::mt19937& random);

  Options options_;
  bool frozen_ = false;
  cudaError_t broken_ = cudaSuccess;
  uint64_t fail_in_ = 0;
  std::string fail_name_;
  cudaError_t fail_code_ = cudaSuccess;
  bool fail_for_good_ = false;
  uint64_t all_calls_ = 0;
  std::map<std::string, uint64_t> calls_;
  std::vector<std::string> violations_;
  std::vector<std::unique_ptr<CUstream_st>> streams_;
  std::map<const std::byte*, Block> blocks_;
  size_t device_bytes_ = 0;
};

}  // namespace krserve::fake_cuda

struct CUgraph_st {
  std::vector<std::function<void()>> nodes;
  bool valid = true;
};

struct CUgraphExec_st {
  std::shared_ptr<std::vector<std::function<void()>>> nodes;
  std::shared_ptr<std::atomic<int>> in_flight = std::make_shared<std::atomic<int>>(0);
};

struct CUevent_st {
  std::shared_ptr<krserve::fake_cuda::Moment> latest;
};

struct CUstream_st {
  std::deque<krserve::fake_cuda::Operation> operations;
  bool busy = false;
  bool destroyed = false;
  cudaGraph_t capture = nullptr;
  std::thread::id capturer;
};
