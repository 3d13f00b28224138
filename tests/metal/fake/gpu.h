// The GPU of the fake: queues whose work two threads run in any order that Metal allows, and who
// knows what to have ended. A race is found from what orders two accesses, not from when they ran.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "metal/fake/objc_model.h"

namespace krserve::fake_metal {

class Buffer;
class GpuQueue;

// For each queue (by its number) the last pass that is known to have ended. Passes (encoders) of a
// queue are counted as they are committed.
class Clock {
 public:
  void merge(const Clock& other);
  void merge(uint32_t queue, uint64_t pass);
  bool covers(uint32_t queue, uint64_t pass) const;
  bool covers(const Clock& other) const;

 private:
  // One more than the pass at the queue's number; 0: none is known. Copied with every command.
  std::vector<uint64_t> known_;
};

enum Stage : uint8_t { kDispatchStage, kBlitStage, kStages };

struct Access {
  uint64_t begin;
  uint64_t end;
  bool writes;
  Stage stage;
  uint32_t queue;
  uint64_t pass;
  uint64_t epoch;
  std::string what;
};

// Bytes that buffers lie in: a heap's, or one buffer's own.
struct Memory {
  std::byte* bytes = nullptr;
  uint64_t size = 0;
  bool tracked = false;
  std::unique_ptr<std::byte[]> storage;
  std::vector<Access> accesses;
};

// A part of a memory that a command touches. `buffer` may be dead; compare it, don't follow it.
struct Use {
  std::shared_ptr<Memory> memory;
  Buffer* buffer;
  uint64_t begin;
  uint64_t end;
  bool writes;
  bool by_address = false;  // not bound: Metal 3 does not see it either
};

// What a command's encoder promised about commands before it, by their stage: those of its own pass
// with a lower epoch, and those of earlier passes, are over. Chains of barriers are followed within
// a pass, not from pass to pass: a queue's barriers must name the stages themselves.
struct Order {
  std::array<uint64_t, kStages> epochs{};
  std::array<bool, kStages> earlier_passes{};
};

struct Command {
  std::string what;
  Stage stage = kDispatchStage;
  uint64_t epoch = 0;
  Order order;
  // Metal 3 orders passes that touch tracked memory.
  bool is_tracked = true;
  // False after a violation: the command does not run.
  std::function<bool(Command&)> prepare;
  std::vector<Use> uses;
  std::function<void(uint64_t seed)> run;
};

struct Pass {
  std::vector<Command> commands;
  // Metal 3: what useHeap and useResource made resident.
  std::vector<Ref<Object>> named;
};

// One thing that a queue does at its turn.
struct Operation {
  std::function<bool()> ready;  // null: at once
  std::function<void()> run;    // without the lock
};

struct Options {
  uint32_t seed = 1;
  int macos = 26;  // 26: Metal 4; 15: residency sets and math modes; 14: neither
  uint64_t memory_bytes = uint64_t{8} << 30;
  uint64_t working_set_bytes = 0;  // that Metal recommends; 0: all memory
  uint64_t max_threads = 1024;
  uint64_t threadgroup_memory_bytes = 32768;

  bool metal4() const { return macos >= 26; }
  // Of the environment variable KR_METAL_SIM, "macos=15,seed=7,memory_mib=512"; others as they
  // are. An unknown word ends the process.
  static Options from_environment();
};

// Why a submission shall fail: the code of its queue's domain, and the driver's words.
struct Failure {
  long code;
  std::string text;
};

class Gpu {
 public:
  static Gpu& get();

  // Idle, unfrozen, no violations. Handles of before stay valid.
  void reset(const Options& options = {});
  const Options& options() const { return options_; }
  // Alignment of buffers of this size in heaps: any power of two from 256 to 64 Ki, by the seed.
  uint64_t heap_alignment(uint64_t bytes) const;

  // Nothing runs while frozen, as if a kernel hung.
  void freeze(bool frozen);
  // The n-th submission from now on does not run, and ends with an error.
  void fail_submission(uint64_t nth, Failure failure);
  std::unique_ptr<Failure> take_failure();
  // The n-th allocation from now on finds no memory.
  void fail_allocation(uint64_t nth);
  // The next library or pipeline is refused with this text.
  void fail_compilation(const std::string& text);
  bool take_compile_error(std::string& text);
  uint64_t residency_requests() const { return residency_requests_; }
  // True when all queues are empty and all handlers have run.
  bool wait_idle(std::chrono::milliseconds timeout);

  // The model's side, under the runtime's lock.

  bool take_memory(uint64_t bytes);
  void give_memory(uint64_t bytes) { used_bytes_ -= bytes; }
  void count_residency_request() { ++residency_requests_; }
  uint64_t used_bytes() const { return used_bytes_; }
  void add(GpuQueue* queue);
  void remove(GpuQueue* queue);
  // A completion handler: runs at any later time, on a thread of the GPU's.
  void call_later(std::function<void()> handler);
  // What the host has seen to have ended.
  Clock host_clock;
  // The calling thread is the GPU itself: what it lets go of has ended.
  static bool& is_gpu_thread();
  uint64_t next_address(uint64_t bytes);

  // False after a violation. Remembers the accesses.
  bool check(Command& command, const Clock& base, uint32_t queue, uint64_t pass);

 private:
  Gpu();
  void work(uint32_t seed);
  Operation* pick(std::mt19937& random, GpuQueue*& queue);

  Options options_;
  bool frozen_ = false;
  uint32_t busy_ = 0;
  uint64_t used_bytes_ = 0;
  uint64_t next_address_ = uint64_t{0x15} << 32;
  uint64_t fail_submission_in_ = 0;
  Failure failure_{};
  uint64_t fail_allocation_in_ = 0;
  std::atomic<uint64_t> residency_requests_{0};
  std::string compile_error_;
  std::vector<GpuQueue*> queues_;
  std::list<Operation> handlers_;
};

// What Metal 3's and Metal 4's queues have in common.
class GpuQueue : public Object {
 public:
  GpuQueue();
  ~GpuQueue() override;

  uint32_t number() const { return number_; }
  // The queue lives until the operation is over.
  void push(Operation operation);
  uint64_t next_pass() { return ++last_pass_; }
  uint64_t last_pass() const { return last_pass_; }
  // Runs a pass's commands, one after the other, in an order that the barriers allow. What they use
  // must be resident.
  void execute(Pass& pass, uint64_t number, const Clock& committed,
               const std::function<bool(const Use&)>& is_resident);
  // What this queue has waited for.
  Clock clock;

 private:
  friend class Gpu;

  uint32_t number_;
  uint64_t last_pass_ = 0;
  bool busy_ = false;
  std::deque<Operation> operations_;
};

}  // namespace krserve::fake_metal
