// Encoders of both Metals: what a command needs when it is encoded, and what orders it.
#pragma once

#include "metal/fake/kernels.h"
#include "metal/fake/resources.h"

namespace krserve::fake_metal {

using metal::MTLStages;
using metal::NSRange;

// What an encoder records into.
class Recorder : public Object {
 public:
  Object* active_encoder = nullptr;
  // Until the commands have ended; Metal 4 keeps nothing.
  virtual void keep(Object*) {}
};

class Encoder : public Object {
 public:
  enum class Kind { kSerial, kConcurrent, kMetal4 };

  Encoder(Recorder& recorder, std::shared_ptr<Pass> pass, Kind kind);
  void end_encoding();
  void copy(Buffer* from, NSUInteger from_offset, Buffer* to, NSUInteger to_offset,
            NSUInteger bytes);
  void fill(Buffer* buffer, NSRange range, uint8_t value);

 protected:
  void end() override;
  // False after a violation.
  bool is_open(const char* what);
  void push(Command command);
  void name(Object* allocation) { pass_->named.emplace_back(allocation); }
  void keep(Object* object) { recorder_->keep(object); }
  void encoder_barrier(MTLStages after, MTLStages before);
  void queue_barrier(MTLStages after, MTLStages before);

 private:
  Ref<Recorder> recorder_;
  std::shared_ptr<Pass> pass_;
  Kind kind_;
  bool ended_ = false;
  uint64_t epoch_ = 1;
  // For a command of the stage.
  std::array<Order, kStages> orders_;
};

class BlitEncoder : public Encoder {
 public:
  BlitEncoder(Recorder& recorder, std::shared_ptr<Pass> pass)
      : Encoder(recorder, std::move(pass), Kind::kSerial) {}
  const char* class_name() const override { return "MTLBlitCommandEncoder"; }
};

class ComputeEncoder : public Encoder {
 public:
  using Encoder::Encoder;
  void set_pipeline(Pipeline* pipeline);
  void set_threadgroup_memory(NSUInteger bytes, NSUInteger index);
  void dispatch(MTLSize groups, MTLSize threads);

 protected:
  struct Binding {
    Ref<Buffer> buffer;
    uint64_t offset = 0;
    std::shared_ptr<std::vector<std::byte>> inline_bytes;
  };
  // Nothing, after a violation.
  virtual bool find_binding(NSUInteger index, Binding& out) = 0;

 private:
  bool may_dispatch(MTLSize groups, MTLSize threads);

  Ref<Pipeline> pipeline_;
  std::map<NSUInteger, NSUInteger> threadgroup_bytes_;
};

class ComputeEncoder3 : public ComputeEncoder {
 public:
  using ComputeEncoder::ComputeEncoder;
  const char* class_name() const override { return "MTLComputeCommandEncoder"; }
  void set_buffer(Buffer* buffer, NSUInteger offset, NSUInteger index);
  void set_bytes(const void* bytes, NSUInteger length, NSUInteger index);
  void memory_barrier(metal::MTLBarrierScope);
  void use_heap(Heap* heap);
  void use_resource(Buffer* buffer, metal::MTLResourceUsage usage);

 protected:
  bool find_binding(NSUInteger index, Binding& out) override;

 private:
  std::map<NSUInteger, Binding> bindings_;
};

class ArgumentTable : public Object {
 public:
  explicit ArgumentTable(NSUInteger count) : addresses(count) {}
  const char* class_name() const override { return "MTL4ArgumentTable"; }
  void set_address(uint64_t address, NSUInteger index);

  std::vector<uint64_t> addresses;
};

class ComputeEncoder4 : public ComputeEncoder {
 public:
  using ComputeEncoder::ComputeEncoder;
  const char* class_name() const override { return "MTL4ComputeCommandEncoder"; }
  void set_table(ArgumentTable* table);
  void barrier_in_encoder(MTLStages after, MTLStages before, metal::MTL4VisibilityOptions options);
  void barrier_in_queue(MTLStages after, MTLStages before, metal::MTL4VisibilityOptions options);

 protected:
  bool find_binding(NSUInteger index, Binding& out) override;

 private:
  Ref<ArgumentTable> table_;
};

}  // namespace krserve::fake_metal
