// What the model of Metal refuses. One rule, one name, one negative test.
#pragma once

namespace krserve::fake_metal {

#define KR_FAKE_METAL_RULES(X)                        \
  X(kUnknownSelector, "unknown-selector")             \
  X(kDeadObject, "dead-object")                       \
  X(kWrongClass, "wrong-class")                       \
  X(kNilArgument, "nil-argument")                     \
  X(kNoAutoreleasePool, "no-autorelease-pool")        \
  X(kPoolOrder, "pool-order")                         \
  X(kBadStorage, "bad-storage")                       \
  X(kEmptyAllocation, "empty-allocation")             \
  X(kHeapStorage, "heap-storage")                     \
  X(kHeapAlignment, "heap-alignment")                 \
  X(kHeapOverflow, "heap-overflow")                   \
  X(kHeapOverlap, "heap-overlap")                     \
  X(kNoCopyAlignment, "no-copy-alignment")            \
  X(kReleasedInFlight, "released-in-flight")          \
  X(kEventNotMonotonic, "event-not-monotonic")        \
  X(kNotResident, "not-resident")                     \
  X(kTooManyResidencySets, "too-many-residency-sets") \
  X(kDoubleCommit, "double-commit")                   \
  X(kEncodeAfterCommit, "encode-after-commit")        \
  X(kEncoderOpen, "encoder-open")                     \
  X(kEncodeAfterEnd, "encode-after-end")              \
  X(kHandlerAfterCommit, "handler-after-commit")      \
  X(kWaitBeforeCommit, "wait-before-commit")          \
  X(kQueueFull, "queue-full")                         \
  X(kNotRecording, "not-recording")                   \
  X(kStillRecording, "still-recording")               \
  X(kAllocatorBusy, "allocator-busy")                 \
  X(kAllocatorInFlight, "allocator-in-flight")        \
  X(kNoPipeline, "no-pipeline")                       \
  X(kMissingBinding, "missing-binding")               \
  X(kBindingIndex, "binding-index")                   \
  X(kBindingAlignment, "binding-alignment")           \
  X(kBadAddress, "bad-address")                       \
  X(kRange, "range")                                  \
  X(kInlineBytes, "inline-bytes")                     \
  X(kCopyAlignment, "copy-alignment")                 \
  X(kCopyOverlap, "copy-overlap")                     \
  X(kEmptyDispatch, "empty-dispatch")                 \
  X(kThreadgroupSize, "threadgroup-size")             \
  X(kThreadgroupMemory, "threadgroup-memory")         \
  X(kMissingBarrier, "missing-barrier")               \
  X(kKernelFault, "kernel-fault")

enum class Rule {
#define KR_RULE(name, text) name,
  KR_FAKE_METAL_RULES(KR_RULE)
#undef KR_RULE
};

inline constexpr const char* kRuleNames[] = {
#define KR_RULE(name, text) text,
    KR_FAKE_METAL_RULES(KR_RULE)
#undef KR_RULE
};

inline const char* rule_name(Rule rule) {
  return kRuleNames[static_cast<int>(rule)];
}

}  // namespace krserve::fake_metal
