// Blocks as the runtime sees them: any block, whatever its function takes.
#pragma once

#include <memory>

#include "device/metal/api/objc_encoding.h"

namespace krserve::fake_metal {

// Layout: clang's "Block Implementation Specification".
struct RawBlock {
  struct Descriptor {
    unsigned long reserved;
    unsigned long bytes;
    void (*copy)(void* to, const void* from);
    void (*dispose)(const void* block);
  };

  void* isa;
  int flags;
  int reserved;
  void (*invoke)();
  const Descriptor* descriptor;
};

// A copy that outlives the stack block it is of; null for null.
std::shared_ptr<RawBlock> keep_block(const RawBlock* block);

// A block's function takes the block as a type of its own: the ABI allows it, clang's sanitizer
// not.
template <class... A>
#if defined(__clang__)
__attribute__((no_sanitize("function")))
#endif
void call_block(RawBlock& block, A... args) {
  reinterpret_cast<void (*)(RawBlock*, A...)>(block.invoke)(&block, args...);
}

}  // namespace krserve::fake_metal

template <>
struct krserve::metal::IsBlock<krserve::fake_metal::RawBlock> : std::true_type {};
