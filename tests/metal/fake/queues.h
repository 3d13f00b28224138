// Command buffers and queues of both Metals.
#pragma once

#include <variant>

#include "metal/fake/encoders.h"

namespace krserve::fake_metal {

class CommandQueue : public GpuQueue {
 public:
  explicit CommandQueue(NSUInteger max_buffers) : max_buffers_(max_buffers) {}
  const char* class_name() const override { return "MTLCommandQueue"; }
  class CommandBuffer* command_buffer();
  void add_set(ResidencySet* set) { add_residency_set(sets_, set); }
  void remove_set(ResidencySet* set);

 private:
  friend class CommandBuffer;

  NSUInteger max_buffers_;
  NSUInteger open_ = 0;       // made and not ended
  NSUInteger committed_ = 0;  // of these
  ResidencySets sets_;
};

class CommandBuffer : public Recorder {
 public:
  explicit CommandBuffer(CommandQueue& queue);
  ~CommandBuffer() override;
  const char* class_name() const override { return "MTLCommandBuffer"; }
  void keep(Object* object) override { kept_.emplace_back(object); }

  void set_label(String*) {}
  void use_set(ResidencySet* set);
  BlitEncoder* blit_encoder();
  ComputeEncoder3* compute_encoder(metal::MTLDispatchType type);
  void encode_signal(Event* event, uint64_t value);
  void encode_wait(Event* event, uint64_t value);
  void add_handler(const RawBlock* handler);
  void commit();
  void wait_until_completed();
  metal::MTLCommandBufferStatus status();
  Error* error() { return error_.get(); }
  double start_time() { return start_time_; }
  double end_time() { return end_time_; }

 private:
  struct EventStep {
    Ref<Event> event;
    uint64_t value;
    bool is_signal;
  };
  using Step = std::variant<std::shared_ptr<Pass>, EventStep>;

  bool may_encode(const char* what);
  std::shared_ptr<Pass> new_pass();
  void push_pass(std::shared_ptr<Pass> pass, const Clock& host);
  bool is_resident(const Pass& pass, const Use& use) const;
  void push_event(const EventStep& step);
  void complete();
  void run_handlers();

  Ref<CommandQueue> queue_;
  metal::MTLCommandBufferStatus status_ = metal::MTLCommandBufferStatus::kNotEnqueued;
  bool handled_ = false;
  std::vector<Step> steps_;
  ResidencySets sets_;
  std::vector<Ref<Object>> kept_;
  std::vector<std::shared_ptr<RawBlock>> handlers_;
  std::shared_ptr<Failure> failure_;
  Ref<Error> error_;
  uint64_t last_pass_ = 0;
  double start_time_ = 0;
  double end_time_ = 0;
};

class Allocator4 : public Object {
 public:
  const char* class_name() const override { return "MTL4CommandAllocator"; }
  void reset();

  Object* recording = nullptr;
  Clock last_use;

 protected:
  void end() override;
};

class ArgumentTableDescriptor : public Object {
 public:
  const char* class_name() const override { return "MTL4ArgumentTableDescriptor"; }
  void set_count(NSUInteger value);

  NSUInteger count = 0;
};

class CommandBuffer4 : public Recorder {
 public:
  const char* class_name() const override { return "MTL4CommandBuffer"; }
  void begin(Allocator4* allocator);
  void end_recording();
  void set_label(String*) {}
  ComputeEncoder4* compute_encoder();
  void use_set(ResidencySet* set);

  // What a commit takes; null after a violation.
  struct Recording {
    std::vector<std::shared_ptr<Pass>> passes;
    ResidencySets sets;
    Ref<Allocator4> allocator;
  };
  std::shared_ptr<Recording> take();

 protected:
  void end() override;

 private:
  enum class State { kEmpty, kRecording, kEnded, kCommitted };

  State state_ = State::kEmpty;
  std::shared_ptr<Recording> recording_;
};

class CommitFeedback : public Object {
 public:
  const char* class_name() const override { return "MTL4CommitFeedback"; }
  Error* error() { return failure.get(); }
  double start_time() { return start; }
  double end_time() { return stop; }

  Ref<Error> failure;
  double start = 0;
  double stop = 0;
};

class CommitOptions : public Object {
 public:
  const char* class_name() const override { return "MTL4CommitOptions"; }
  void add_handler(const RawBlock* handler) { handlers.push_back(keep_block(handler)); }

  std::vector<std::shared_ptr<RawBlock>> handlers;
};

class CommandQueue4 : public GpuQueue {
 public:
  const char* class_name() const override { return "MTL4CommandQueue"; }
  void commit(CommandBuffer4* const* buffers, NSUInteger count, CommitOptions* options);
  void commit_plain(CommandBuffer4* const* buffers, NSUInteger count) {
    commit(buffers, count, nullptr);
  }
  void signal(Event* event, uint64_t value);
  void wait(Event* event, uint64_t value);
  void add_set(ResidencySet* set) { add_residency_set(sets_, set); }
  void remove_set(ResidencySet* set);

 private:
  struct Submission;
  void push_recording(const std::shared_ptr<Submission>& submission,
                      const std::shared_ptr<CommandBuffer4::Recording>& recording);

  ResidencySets sets_;
};

}  // namespace krserve::fake_metal
