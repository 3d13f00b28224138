#include "metal/fake/queues.h"

#include <algorithm>
#include <chrono>

namespace krserve::fake_metal {
namespace {

using metal::MTLCommandBufferStatus;

double now_s() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

std::unique_lock<std::recursive_mutex> lock_runtime() {
  return std::unique_lock(Runtime::get().mutex);
}

// Marks what the pass uses as in flight.
void note_uses(const Pass& pass, uint32_t queue, uint64_t number) {
  for (const Command& command : pass.commands) {
    for (const Use& use : command.uses) {
      if (Runtime::get().lives(use.buffer)) {
        use.buffer->last_use.merge(queue, number);
      } else {
        violate(Rule::kReleasedInFlight, command.what + ": a buffer released before the commit");
      }
    }
  }
}

// As the system makes it: the outer error stands for the commit, what happened lies within.
Ref<Error> commit_error(const Failure& failure) {
  constexpr const char* kDomain = "MTL4CommandQueueErrorDomain";
  auto* const inner = new Error(kDomain, failure.code, failure.text);
  auto* const outer = new Error(kDomain, failure.code,
                                "The operation couldn't be completed. (" + std::string(kDomain) +
                                    " error " + std::to_string(failure.code) + ".)",
                                inner);
  inner->release();
  const Ref<Error> kept(outer);
  outer->release();
  return kept;
}

}  // namespace

// Metal blocks while the queue is full; if nothing in it was committed it would for ever.
CommandBuffer* CommandQueue::command_buffer() {
  if (open_ >= max_buffers_ && committed_ == 0) {
    violate(Rule::kQueueFull, std::to_string(open_) + " command buffers made and never committed");
    return nullptr;
  }
  std::unique_lock lock(Runtime::get().mutex, std::adopt_lock);
  Runtime::get().changed.wait(lock, [this] { return open_ < max_buffers_; });
  lock.release();  // the message's caller holds it
  auto* const buffer = new CommandBuffer(*this);
  buffer->autorelease();
  return buffer;
}

CommandBuffer::CommandBuffer(CommandQueue& queue) : queue_(&queue) {
  ++queue.open_;
}

CommandBuffer::~CommandBuffer() {
  const auto lock = lock_runtime();
  if (status_ == MTLCommandBufferStatus::kNotEnqueued) --queue_->open_;
}

bool CommandBuffer::may_encode(const char* what) {
  if (status_ != MTLCommandBufferStatus::kNotEnqueued) {
    violate(Rule::kEncodeAfterCommit, std::string(what) + " after commit");
    return false;
  }
  if (active_encoder) {
    violate(Rule::kEncoderOpen, std::string(what) + " while an encoder is open");
    return false;
  }
  return true;
}

std::shared_ptr<Pass> CommandBuffer::new_pass() {
  auto pass = std::make_shared<Pass>();
  steps_.emplace_back(pass);
  return pass;
}

BlitEncoder* CommandBuffer::blit_encoder() {
  if (!may_encode("blitCommandEncoder")) return nullptr;
  auto* const encoder = new BlitEncoder(*this, new_pass());
  encoder->autorelease();
  return encoder;
}

ComputeEncoder3* CommandBuffer::compute_encoder(metal::MTLDispatchType type) {
  if (!may_encode("computeCommandEncoder")) return nullptr;
  const auto kind = type == metal::MTLDispatchType::kConcurrent ? Encoder::Kind::kConcurrent
                                                                : Encoder::Kind::kSerial;
  auto* const encoder = new ComputeEncoder3(*this, new_pass(), kind);
  encoder->autorelease();
  return encoder;
}

void CommandBuffer::encode_signal(Event* event, uint64_t value) {
  if (may_encode("encodeSignalEvent"))
    steps_.emplace_back(EventStep{Ref<Event>(event), value, true});
}

void CommandBuffer::encode_wait(Event* event, uint64_t value) {
  if (may_encode("encodeWaitForEvent"))
    steps_.emplace_back(EventStep{Ref<Event>(event), value, false});
}

void CommandBuffer::add_handler(const RawBlock* handler) {
  if (status_ != MTLCommandBufferStatus::kNotEnqueued) {
    violate(Rule::kHandlerAfterCommit, "addCompletedHandler after commit");
    return;
  }
  handlers_.push_back(keep_block(handler));
}

void CommandBuffer::commit() {
  if (status_ != MTLCommandBufferStatus::kNotEnqueued) {
    violate(Rule::kDoubleCommit, "a command buffer committed twice");
    return;
  }
  if (active_encoder) {
    violate(Rule::kEncoderOpen, "commit with an open encoder");
    return;
  }
  status_ = MTLCommandBufferStatus::kCommitted;
  for (const auto& set : queue_->sets_) sets_.push_back(set);
  ++queue_->committed_;
  failure_ = Gpu::get().take_failure();
  const Clock host = Gpu::get().host_clock;
  const Ref<CommandBuffer> self(this);
  queue_->push({nullptr, [self] { self->start_time_ = now_s(); }});
  for (const Step& step : steps_) {
    if (const auto* const pass = std::get_if<std::shared_ptr<Pass>>(&step)) {
      push_pass(*pass, host);
    } else {
      push_event(std::get<EventStep>(step));
    }
  }
  queue_->push({nullptr, [self] { self->complete(); }});
}

void CommandBuffer::push_pass(std::shared_ptr<Pass> pass, const Clock& host) {
  last_pass_ = queue_->next_pass();
  note_uses(*pass, queue_->number(), last_pass_);
  const Ref<CommandBuffer> self(this);
  queue_->push({nullptr, [self, pass, host, number = last_pass_] {
                  if (self->failure_) return;
                  self->queue_->execute(*pass, number, host, [&](const Use& use) {
                    return self->is_resident(*pass, use);
                  });
                }});
}

// What an encoder is given by itself, Metal 3 makes resident.
bool CommandBuffer::is_resident(const Pass& pass, const Use& use) const {
  if (!use.by_address) return true;
  const auto holds = [&use](const auto& set) { return set->holds(use); };
  return std::any_of(sets_.begin(), sets_.end(), holds) ||
         std::any_of(pass.named.begin(), pass.named.end(), [&use](const auto& one) {
           return one.get() == use.buffer || one.get() == use.buffer->heap();
         });
}

void CommandBuffer::use_set(ResidencySet* set) {
  if (may_encode("useResidencySet")) add_residency_set(sets_, set);
}

void CommandQueue::remove_set(ResidencySet* set) {
  std::erase_if(sets_, [set](const auto& one) { return one.get() == set; });
}

// What a failed command buffer would have signalled stays unsignalled.
void CommandBuffer::push_event(const EventStep& step) {
  const Ref<CommandBuffer> self(this);
  if (!step.is_signal) {
    queue_->push({[step] { return step.event->is_reached(step.value); },
                  [self, step] {
                    const auto lock = lock_runtime();
                    self->queue_->clock.merge(step.event->clock_at(step.value));
                  }});
    return;
  }
  queue_->push({nullptr, [self, step, pass = queue_->last_pass()] {
                  const auto lock = lock_runtime();
                  if (self->failure_) return;
                  Clock ended = self->queue_->clock;
                  ended.merge(self->queue_->number(), pass);
                  step.event->signal(step.value, ended);
                }});
}

void CommandBuffer::complete() {
  const auto lock = lock_runtime();
  end_time_ = now_s();
  if (failure_) {
    auto* const error = new Error("MTLCommandBufferErrorDomain", failure_->code, failure_->text);
    error_ = Ref<Error>(error);
    error->release();
  }
  status_ = failure_ ? MTLCommandBufferStatus::kError : MTLCommandBufferStatus::kCompleted;
  kept_.clear();
  steps_.clear();
  --queue_->open_;
  --queue_->committed_;
  const Ref<CommandBuffer> self(this);
  Gpu::get().call_later([self] { self->run_handlers(); });
}

void CommandBuffer::run_handlers() {
  auto lock = lock_runtime();
  // Without a handler nobody has seen the end.
  if (!handlers_.empty()) Gpu::get().host_clock.merge(queue_->number(), last_pass_);
  auto handlers = std::move(handlers_);
  lock.unlock();
  auto* const pool = new AutoreleasePool;
  for (const auto& handler : handlers) call_block(*handler, this);
  pool->drain();
  handlers.clear();
  lock.lock();
  handled_ = true;
  Runtime::get().changed.notify_all();
}

void CommandBuffer::wait_until_completed() {
  if (status_ == MTLCommandBufferStatus::kNotEnqueued) {
    violate(Rule::kWaitBeforeCommit, "waitUntilCompleted would not return");
    return;
  }
  const Ref<CommandBuffer> keep_this(this);
  std::unique_lock lock(Runtime::get().mutex, std::adopt_lock);
  Runtime::get().changed.wait(lock, [this] { return handled_; });
  lock.release();  // the message's caller holds it
  Gpu::get().host_clock.merge(queue_->number(), last_pass_);
}

MTLCommandBufferStatus CommandBuffer::status() {
  if (status_ >= MTLCommandBufferStatus::kCompleted) {
    Gpu::get().host_clock.merge(queue_->number(), last_pass_);
  }
  return status_;
}

void Allocator4::reset() {
  if (recording) violate(Rule::kAllocatorBusy, "reset while a command buffer records into it");
  if (!Gpu::get().host_clock.covers(last_use)) {
    violate(Rule::kAllocatorInFlight, "reset; its commands are not known to have ended");
  }
}

void Allocator4::end() {
  if (!Gpu::is_gpu_thread() && !Gpu::get().host_clock.covers(last_use)) {
    violate(Rule::kAllocatorInFlight, "released; its commands are not known to have ended");
  }
}

void ArgumentTableDescriptor::set_count(NSUInteger value) {
  if (value > metal::kMaxBufferBindings) violate(Rule::kBindingIndex, "a table has at most 31");
  count = value;
}

void CommandBuffer4::begin(Allocator4* allocator) {
  if (state_ == State::kRecording) {
    violate(Rule::kStillRecording, "begin twice");
    return;
  }
  if (allocator->recording) {
    violate(Rule::kAllocatorBusy, "the allocator serves another recording");
    return;
  }
  state_ = State::kRecording;
  allocator->recording = this;
  recording_ = std::make_shared<Recording>();
  recording_->allocator = Ref<Allocator4>(allocator);
}

void CommandBuffer4::end_recording() {
  if (state_ != State::kRecording) {
    violate(Rule::kNotRecording, "endCommandBuffer without a begin");
    return;
  }
  if (active_encoder) {
    violate(Rule::kEncoderOpen, "endCommandBuffer with an open encoder");
    return;
  }
  state_ = State::kEnded;
  recording_->allocator->recording = nullptr;
}

ComputeEncoder4* CommandBuffer4::compute_encoder() {
  if (state_ != State::kRecording) {
    violate(Rule::kNotRecording, "computeCommandEncoder outside begin and end");
    return nullptr;
  }
  if (active_encoder) {
    violate(Rule::kEncoderOpen, "computeCommandEncoder while an encoder is open");
    return nullptr;
  }
  recording_->passes.push_back(std::make_shared<Pass>());
  auto* const encoder =
      new ComputeEncoder4(*this, recording_->passes.back(), Encoder::Kind::kMetal4);
  encoder->autorelease();
  return encoder;
}

void CommandBuffer4::use_set(ResidencySet* set) {
  if (state_ != State::kRecording) {
    violate(Rule::kNotRecording, "useResidencySet outside begin and end");
    return;
  }
  add_residency_set(recording_->sets, set);
}

std::shared_ptr<CommandBuffer4::Recording> CommandBuffer4::take() {
  switch (state_) {
    case State::kEnded:
      state_ = State::kCommitted;
      return std::move(recording_);
    case State::kRecording:
      violate(Rule::kStillRecording, "commit before endCommandBuffer");
      break;
    case State::kEmpty:
      violate(Rule::kNotRecording, "commit of an empty command buffer");
      break;
    case State::kCommitted:
      violate(Rule::kDoubleCommit, "one recording committed twice");
      break;
  }
  return nullptr;
}

void CommandBuffer4::end() {
  if (state_ == State::kRecording) recording_->allocator->recording = nullptr;
}

// What the command buffers of one commit share.
struct CommandQueue4::Submission {
  std::vector<std::shared_ptr<RawBlock>> handlers;
  std::unique_ptr<Failure> failure;
  Clock host;
  uint64_t last_pass = 0;
  double start = 0;
};

void CommandQueue4::commit(CommandBuffer4* const* buffers, NSUInteger count,
                           CommitOptions* options) {
  const auto submission = std::make_shared<Submission>();
  if (options) submission->handlers = std::exchange(options->handlers, {});
  submission->failure = Gpu::get().take_failure();
  submission->host = Gpu::get().host_clock;
  push({nullptr, [submission] { submission->start = now_s(); }});
  for (NSUInteger i = 0; i < count; ++i) {
    if (!is_valid_argument(buffers[i], Runtime::get().intern("commit:count:options:"), false)) {
      continue;
    }
    if (const auto recording = buffers[i]->take()) push_recording(submission, recording);
  }
  submission->last_pass = last_pass();
  push({nullptr, [this, submission] {
          const auto lock = lock_runtime();
          auto* const feedback = new CommitFeedback;
          feedback->start = submission->start;
          feedback->stop = now_s();
          if (const Failure* const failure = submission->failure.get()) {
            feedback->failure = commit_error(*failure);
          }
          const Ref<CommitFeedback> kept(feedback);
          feedback->release();
          Gpu::get().call_later([kept, submission, queue = number()] {
            if (submission->handlers.empty()) return;
            auto handler_lock = lock_runtime();
            Gpu::get().host_clock.merge(queue, submission->last_pass);
            handler_lock.unlock();
            auto* const pool = new AutoreleasePool;
            for (const auto& handler : submission->handlers) call_block(*handler, kept.get());
            pool->drain();
          });
        }});
}

void CommandQueue4::push_recording(const std::shared_ptr<Submission>& submission,
                                   const std::shared_ptr<CommandBuffer4::Recording>& recording) {
  for (const auto& set : sets_) recording->sets.push_back(set);
  for (const auto& pass : recording->passes) {
    const uint64_t pass_number = next_pass();
    note_uses(*pass, number(), pass_number);
    recording->allocator->last_use.merge(number(), pass_number);
    push({nullptr, [this, submission, recording, pass, pass_number] {
            if (submission->failure) return;
            execute(*pass, pass_number, submission->host, [&recording](const Use& use) {
              for (const auto& set : recording->sets) {
                if (set->holds(use)) return true;
              }
              return false;
            });
          }});
  }
  recording->allocator = Ref<Allocator4>();  // Metal 4 does not keep it
}

void CommandQueue4::signal(Event* event, uint64_t value) {
  push({nullptr, [this, kept = Ref<Event>(event), value, pass = last_pass()] {
          const auto lock = lock_runtime();
          Clock ended = clock;
          ended.merge(number(), pass);
          kept->signal(value, ended);
        }});
}

void CommandQueue4::wait(Event* event, uint64_t value) {
  const Ref<Event> kept(event);
  push({[kept, value] { return kept->is_reached(value); },
        [this, kept, value] {
          const auto lock = lock_runtime();
          clock.merge(kept->clock_at(value));
        }});
}

void CommandQueue4::remove_set(ResidencySet* set) {
  std::erase_if(sets_, [set](const auto& one) { return one.get() == set; });
}

}  // namespace krserve::fake_metal
