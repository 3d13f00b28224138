// What the CUDA device, its queues, timelines and command buffers share; one lock for all of it.
//
// No thread of its own: whoever asks for a value, commits or waits looks at the words that the
// streams write at the end of each command buffer, and does what follows from them. What can be
// left to the device is on its streams already, so nothing waits for somebody to ask.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "device/cuda/cuda_api.h"
#include "device/cuda/cuda_clock.h"
#include "device/cuda/cuda_facts.h"
#include "device/cuda/cuda_memory.h"
#include "device/memory_counter.h"

namespace krserve {

class CudaLane;

struct CudaAbandoned {
  std::shared_ptr<CudaLane> lane;
  std::shared_ptr<void> uses;
};

struct CudaContext {
  // Throws DeviceError.
  explicit CudaContext(const CudaFacts& device_facts);
  ~CudaContext();
  CudaContext(const CudaContext&) = delete;
  CudaContext& operator=(const CudaContext&) = delete;

  const CudaFacts facts;
  const StreamWriteValue64 write_value;  // null: the ends of command buffers are asked for
  const CudaCopyBatch copy_batch = CudaCopyBatch::find();
  std::chrono::nanoseconds close_patience{0};
  MemoryCounter memory;

  // For the calling thread.
  void make_current() const noexcept { cudaSetDevice(facts.ordinal); }

  // Not with the mutex held.

  // Throws DeviceError with the reason if the device was lost.
  void throw_if_lost(std::string_view where);
  // After a CUDA call has failed: whether the device can go on. If not, everything on it fails.
  bool is_lost_after(cudaError_t code, const std::string& what);
  // poll(), unless somebody else is at it.
  void try_poll();
  // Waits until `over`, called with the mutex held, says so; false at the time-out.
  bool wait_until(const std::function<bool()>& over, std::chrono::nanoseconds timeout);

  // With the mutex held.

  // Ends what has ended and starts what can start. Looks for errors of the device now and then: the
  // words only tell of work that ended well.
  void poll();
  bool is_lost_after_locked(cudaError_t code, const std::string& what);
  // True, and the device is lost, if a call that cannot fail did.
  bool failed(cudaError_t code, const std::string& what);
  // Throws DeviceError.
  cudaEvent_t take_event();
  void give_event(cudaEvent_t event) { free_events.push_back(event); }
  // A word of host memory that the device can write, 0; null where there is no more.
  uint64_t* take_word();
  void give_word(uint64_t* word) { free_words.push_back(word); }

  std::mutex mutex;
  std::condition_variable changed;  // something ended, was signalled or poisoned
  CudaClock clock;
  std::vector<CudaLane*> lanes;
  std::string lost;  // why; empty while all is well
  // Queues that were destroyed while their work hung, with all that it uses. They hold the context
  // too: they go when the device is done with them, or with the process.
  std::vector<CudaAbandoned> abandoned;

 private:
  void check_streams();
  void lose(cudaError_t code, const std::string& what);

  std::vector<cudaEvent_t> free_events;
  std::vector<cudaEvent_t> all_events;
  std::vector<uint64_t*> free_words;
  std::vector<void*> word_pages;
  uint64_t next_check_ns = 0;
};

}  // namespace krserve
