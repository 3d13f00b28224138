// A block of Objective-C as a plain struct: what a compiler with blocks would lay out for a lambda.
// Source of the layout: clang's "Block Implementation Specification".
#pragma once

#include <functional>
#include <new>
#include <utility>

extern "C" void* _NSConcreteStackBlock[32];

namespace krserve::metal {

template <class Signature>
class Block;

// Lives on the stack while a message takes it; the receiver copies what it keeps. The function must
// not throw: there is no handler above it.
template <class... A>
class Block<void(A...)> {
 public:
  using Function = std::function<void(A...)>;

  explicit Block(Function function) : function_(std::move(function)) {}
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

 private:
  struct Descriptor {
    unsigned long reserved;
    unsigned long bytes;
    void (*copy)(void* to, const void* from);
    void (*dispose)(const void* block);
  };

  static void invoke(Block* block, A... args) { block->function_(args...); }
  // The runtime has copied the bytes; the function's are not valid in a second place.
  static void copy(void* to, const void* from) {
    new (&static_cast<Block*>(to)->function_) Function(static_cast<const Block*>(from)->function_);
  }
  static void dispose(const void* block) {
    static_cast<Block*>(const_cast<void*>(block))->function_.~Function();
  }
  static const Descriptor* descriptor() {
    static const Descriptor one{0, sizeof(Block), copy, dispose};
    return &one;
  }

  static constexpr int kHasCopyDispose = 1 << 25;

  void* isa_ = &_NSConcreteStackBlock;
  int flags_ = kHasCopyDispose;
  int reserved_ = 0;
  void (*invoke_)(Block*, A...) = invoke;
  const Descriptor* descriptor_ = descriptor();
  Function function_;
};

}  // namespace krserve::metal
