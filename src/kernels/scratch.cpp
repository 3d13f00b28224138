#include <cstdint>

#include "kernels/cpu_kernels.h"

namespace krserve::kernels {

namespace {
constexpr size_t kAlignment = 64;
}

Scratch::Reserved Scratch::reserve_for(uint64_t serial, size_t bytes) {
  const bool kept = serial != 0 && serial == serial_ && storage_.size() >= bytes + kAlignment;
  void* memory = reserve(bytes);
  serial_ = serial;
  return {memory, kept};
}

void* Scratch::reserve(size_t bytes) {
  serial_ = 0;
  if (storage_.size() < bytes + kAlignment) {
    storage_ = {};  // the old contents need not survive: do not hold both
    storage_.resize(bytes + kAlignment);
  }
  const auto address = reinterpret_cast<uintptr_t>(storage_.data());
  const uintptr_t padding = (kAlignment - address % kAlignment) % kAlignment;
  return storage_.data() + padding;
}

}  // namespace krserve::kernels
