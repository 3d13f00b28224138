#include "metal/fake/encoders.h"

#include <algorithm>
#include <cstring>

#include "metal/fake/dialect.h"

namespace krserve::fake_metal {
namespace {

constexpr uint64_t kCopyAlignment = 4;
constexpr uint64_t kBindingAlignment = 4;
constexpr uint64_t kThreadgroupAlignment = 16;

uint64_t count(MTLSize size) {
  return size.width * size.height * size.depth;
}

bool has_stage(MTLStages stages, Stage stage) {
  return metal::has_stages(stages, stage == kBlitStage ? MTLStages::kBlit : MTLStages::kDispatch);
}

bool is_index(NSUInteger index) {
  if (index < metal::kMaxBufferBindings) return true;
  violate(Rule::kBindingIndex, std::to_string(index) + " of 31");
  return false;
}

bool is_good_range(Buffer& buffer, uint64_t offset, uint64_t bytes, const char* what) {
  if (!buffer.is_range(offset, bytes)) {
    violate(Rule::kRange, std::string(what) + ": " + std::to_string(bytes) + " bytes at " +
                              std::to_string(offset) + " of " + std::to_string(buffer.length()));
    return false;
  }
  if (offset % kCopyAlignment || bytes % kCopyAlignment) {
    violate(Rule::kCopyAlignment, std::string(what) + ": offsets and sizes are multiples of 4");
    return false;
  }
  return true;
}

// What came before what came before.
void follow(Order& order, const Order& earlier) {
  for (const Stage stage : {kDispatchStage, kBlitStage}) {
    order.epochs[stage] = std::max(order.epochs[stage], earlier.epochs[stage]);
    order.earlier_passes[stage] = order.earlier_passes[stage] || earlier.earlier_passes[stage];
  }
}

// The bindings' extents, where the kernel tells them.
bool set_extents(Command& command, const Launch& launch, const HostKernel& kernel,
                 const std::vector<size_t>& use_arguments) {
  for (size_t i = 0; i < command.uses.size(); ++i) {
    const KernelArgument& argument = kernel.arguments[use_arguments[i]];
    if (!argument.extent_bytes) continue;
    const uint64_t bytes = argument.extent_bytes(launch);
    Use& use = command.uses[i];
    if (bytes > use.end - use.begin) {
      violate(Rule::kRange, command.what + ": argument " + std::to_string(argument.index) +
                                " reaches past the buffer's end");
      return false;
    }
    use.end = use.begin + bytes;
  }
  return true;
}

}  // namespace

Encoder::Encoder(Recorder& recorder, std::shared_ptr<Pass> pass, Kind kind)
    : recorder_(&recorder), pass_(std::move(pass)), kind_(kind) {
  recorder.active_encoder = this;
}

void Encoder::end() {
  if (ended_) return;
  violate(Rule::kEncoderOpen, std::string(class_name()) + " released before endEncoding");
  recorder_->active_encoder = nullptr;
}

void Encoder::end_encoding() {
  if (!is_open("endEncoding")) return;
  ended_ = true;
  recorder_->active_encoder = nullptr;
}

bool Encoder::is_open(const char* what) {
  if (ended_) violate(Rule::kEncodeAfterEnd, std::string(what) + " after endEncoding");
  return !ended_;
}

void Encoder::push(Command command) {
  if (kind_ == Kind::kSerial) {
    const auto all = MTLStages::kDispatch | MTLStages::kBlit;
    encoder_barrier(all, all);
  }
  command.is_tracked = kind_ != Kind::kMetal4;
  command.epoch = epoch_;
  command.order = orders_[command.stage];
  pass_->commands.push_back(std::move(command));
}

void Encoder::encoder_barrier(MTLStages after, MTLStages before) {
  ++epoch_;
  const auto old = orders_;
  for (const Stage later : {kDispatchStage, kBlitStage}) {
    for (const Stage earlier : {kDispatchStage, kBlitStage}) {
      if (!has_stage(before, later) || !has_stage(after, earlier)) continue;
      follow(orders_[later], old[earlier]);
      orders_[later].epochs[earlier] = epoch_;
    }
  }
}

void Encoder::queue_barrier(MTLStages after, MTLStages before) {
  for (const Stage later : {kDispatchStage, kBlitStage}) {
    for (const Stage earlier : {kDispatchStage, kBlitStage}) {
      if (!has_stage(before, later) || !has_stage(after, earlier)) continue;
      orders_[later].earlier_passes[earlier] = true;
    }
  }
}

void Encoder::copy(Buffer* from, NSUInteger from_offset, Buffer* to, NSUInteger to_offset,
                   NSUInteger bytes) {
  if (!is_open("copyFromBuffer") || !is_good_range(*from, from_offset, bytes, "copy from") ||
      !is_good_range(*to, to_offset, bytes, "copy to")) {
    return;
  }
  if (from == to && from_offset < to_offset + bytes && to_offset < from_offset + bytes) {
    violate(Rule::kCopyOverlap, "source and destination share bytes");
    return;
  }
  Command command;
  command.what = "copyFromBuffer";
  command.stage = kBlitStage;
  command.uses = {from->use(from_offset, bytes, false), to->use(to_offset, bytes, true)};
  command.run = [source = from->bytes() + from_offset, target = to->bytes() + to_offset,
                 bytes](uint64_t) { std::memcpy(target, source, bytes); };
  keep(from);
  keep(to);
  push(std::move(command));
}

void Encoder::fill(Buffer* buffer, NSRange range, uint8_t value) {
  if (!is_open("fillBuffer") || !is_good_range(*buffer, range.location, range.length, "fill")) {
    return;
  }
  Command command;
  command.what = "fillBuffer";
  command.stage = kBlitStage;
  command.uses = {buffer->use(range.location, range.length, true)};
  command.run = [target = buffer->bytes() + range.location, bytes = range.length, value](uint64_t) {
    std::memset(target, value, bytes);
  };
  keep(buffer);
  push(std::move(command));
}

void ComputeEncoder::set_pipeline(Pipeline* pipeline) {
  if (!is_open("setComputePipelineState")) return;
  pipeline_ = Ref<Pipeline>(pipeline);
  keep(pipeline);
}

void ComputeEncoder::set_threadgroup_memory(NSUInteger bytes, NSUInteger index) {
  if (!is_open("setThreadgroupMemoryLength") || !is_index(index)) return;
  if (bytes % kThreadgroupAlignment) {
    violate(Rule::kBindingAlignment, "threadgroup memory is a multiple of 16 bytes");
    return;
  }
  threadgroup_bytes_[index] = bytes;
}

bool ComputeEncoder::may_dispatch(MTLSize groups, MTLSize threads) {
  if (!is_open("dispatch")) return false;
  if (!pipeline_) {
    violate(Rule::kNoPipeline, "dispatch without a pipeline");
    return false;
  }
  const HostKernel& kernel = pipeline_->kernel();
  const Options& options = Gpu::get().options();
  uint64_t memory = kernel.threadgroup_bytes;
  for (const auto& [index, bytes] : threadgroup_bytes_) memory += bytes;
  const auto check = [&kernel](bool good, Rule rule, uint64_t is, uint64_t limit) {
    if (!good) {
      violate(rule, kernel.name + ": " + std::to_string(is) + "; limit " + std::to_string(limit));
    }
    return good;
  };
  const uint64_t most_threads = pipeline_->max_threads();
  return check(count(groups) > 0 && count(threads) > 0, Rule::kEmptyDispatch, 0, 0) &&
         check(count(threads) <= most_threads, Rule::kThreadgroupSize, count(threads),
               most_threads) &&
         check(memory <= options.threadgroup_memory_bytes, Rule::kThreadgroupMemory, memory,
               options.threadgroup_memory_bytes);
}

void ComputeEncoder::dispatch(MTLSize groups, MTLSize threads) {
  if (!may_dispatch(groups, threads)) return;
  const HostKernel& kernel = pipeline_->kernel();
  const auto launch = std::make_shared<Launch>();
  launch->groups = groups;
  launch->threads = threads;
  for (const auto& [index, bytes] : threadgroup_bytes_) launch->threadgroup_bytes[index] = bytes;
  Command command;
  command.what = kernel.name;
  std::vector<size_t> use_arguments;
  std::vector<std::shared_ptr<std::vector<std::byte>>> inline_bytes;
  for (size_t i = 0; i < kernel.arguments.size(); ++i) {
    const auto& [index, writes, extent] = kernel.arguments[i];
    Binding binding;
    if (!find_binding(index, binding)) return;
    if (binding.inline_bytes) {
      if (writes) violate(Rule::kInlineBytes, kernel.name + " writes to inline bytes");
      inline_bytes.push_back(binding.inline_bytes);
      launch->buffers[index] = binding.inline_bytes->data();
      launch->bytes[index] = binding.inline_bytes->size();
      continue;
    }
    Buffer& buffer = *binding.buffer.get();
    launch->buffers[index] = buffer.bytes() + binding.offset;
    launch->bytes[index] = buffer.length() - binding.offset;
    command.uses.push_back(buffer.use(binding.offset, launch->bytes[index], writes));
    use_arguments.push_back(i);
    keep(&buffer);
  }
  const auto resolved = std::make_shared<kernels::DialectParams>();
  command.prepare = [launch, &kernel, use_arguments, resolved](Command& one) {
    return set_extents(one, *launch, kernel, use_arguments) &&
           (!kernel.simt || resolve_addresses(one, *launch, kernel, *resolved));
  };
  command.run = [launch, &kernel, inline_bytes, resolved](uint64_t seed) {
    if (kernel.simt) {
      run_on_emulator(*launch, kernel, *resolved, seed);
    } else {
      kernel.run(*launch);
    }
  };
  push(std::move(command));
}

void ComputeEncoder3::set_buffer(Buffer* buffer, NSUInteger offset, NSUInteger index) {
  if (!is_open("setBuffer") || !is_index(index)) return;
  if (!buffer) {
    bindings_.erase(index);
    return;
  }
  if (!buffer->is_range(offset, 1)) {
    violate(Rule::kRange, "setBuffer: the offset lies past the buffer's end");
    return;
  }
  if (offset % kBindingAlignment) {
    violate(Rule::kBindingAlignment, "setBuffer: the offset is a multiple of 4");
    return;
  }
  bindings_[index] = {Ref<Buffer>(buffer), offset, nullptr};
}

void ComputeEncoder3::set_bytes(const void* bytes, NSUInteger length, NSUInteger index) {
  if (!is_open("setBytes") || !is_index(index)) return;
  if (length == 0 || length > metal::kMaxInlineBytes) {
    violate(Rule::kInlineBytes, std::to_string(length) + " bytes; 1 to 4096 may be set");
    return;
  }
  const auto* const first = static_cast<const std::byte*>(bytes);
  bindings_[index] = {{}, 0, std::make_shared<std::vector<std::byte>>(first, first + length)};
}

void ComputeEncoder3::memory_barrier(metal::MTLBarrierScope) {
  if (!is_open("memoryBarrier")) return;
  encoder_barrier(MTLStages::kDispatch, MTLStages::kDispatch);
}

void ComputeEncoder3::use_heap(Heap* heap) {
  if (is_open("useHeap")) name(heap);
}

void ComputeEncoder3::use_resource(Buffer* buffer, metal::MTLResourceUsage) {
  if (is_open("useResource")) name(buffer);
}

bool ComputeEncoder3::find_binding(NSUInteger index, Binding& out) {
  const auto it = bindings_.find(index);
  if (it == bindings_.end()) {
    violate(Rule::kMissingBinding, "nothing bound at " + std::to_string(index));
    return false;
  }
  out = it->second;
  return true;
}

void ArgumentTable::set_address(uint64_t address, NSUInteger index) {
  if (index >= addresses.size()) {
    violate(Rule::kBindingIndex,
            std::to_string(index) + " of a table of " + std::to_string(addresses.size()));
    return;
  }
  addresses[index] = address;
}

void ComputeEncoder4::set_table(ArgumentTable* table) {
  if (is_open("setArgumentTable")) table_ = Ref<ArgumentTable>(table);
}

// A barrier without visibility orders execution and lets caches be.
void ComputeEncoder4::barrier_in_encoder(MTLStages after, MTLStages before,
                                         metal::MTL4VisibilityOptions options) {
  if (!is_open("barrierAfterEncoderStages")) return;
  if (options == metal::MTL4VisibilityOptions::kDevice) encoder_barrier(after, before);
}

void ComputeEncoder4::barrier_in_queue(MTLStages after, MTLStages before,
                                       metal::MTL4VisibilityOptions options) {
  if (!is_open("barrierAfterQueueStages")) return;
  if (options == metal::MTL4VisibilityOptions::kDevice) queue_barrier(after, before);
}

bool ComputeEncoder4::find_binding(NSUInteger index, Binding& out) {
  if (!table_ || index >= table_->addresses.size() || table_->addresses[index] == 0) {
    violate(Rule::kMissingBinding, "no address at " + std::to_string(index));
    return false;
  }
  const uint64_t address = table_->addresses[index];
  Buffer* const buffer = Buffer::at(address);
  if (!buffer) {
    violate(Rule::kBadAddress, "no live buffer holds the address at " + std::to_string(index));
    return false;
  }
  out = {Ref<Buffer>(buffer), address - buffer->address(), nullptr};
  return true;
}

}  // namespace krserve::fake_metal
