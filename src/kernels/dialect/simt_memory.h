// Threadgroup memory as the SIMT emulator has it: poisoned when it is new, with guards around it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/dialect/simt.h"

namespace krserve::kernels::simt {

// The threadgroup memory of the threadgroup that runs.
class SharedMemory {
 public:
  SharedMemory() { storage_.resize((kMaxSharedBytes + kMaxArrays * 2 * kGuardBytes) / 4); }

  void clear() {
    arrays_.clear();
    used_ = 0;
    bytes_ = 0;
  }

  // Null when it does not fit.
  void* find_or_add(const char* name, size_t bytes) {
    for (const Array& array : arrays_) {
      if (array.bytes == bytes && std::strcmp(array.name, name) == 0) return array.data;
    }
    const size_t padded = (bytes + 15) / 16 * 16;
    bytes_ += padded;
    if (bytes_ > kMaxSharedBytes || arrays_.size() == kMaxArrays) return nullptr;
    auto* begin = reinterpret_cast<std::byte*>(storage_.data()) + used_;
    const size_t all = padded + 2 * kGuardBytes;
    std::fill_n(storage_.begin() + static_cast<ptrdiff_t>(used_ / 4), all / 4, kPoison);
    arrays_.push_back({name, bytes, begin + kGuardBytes});
    used_ += all;
    return begin + kGuardBytes;
  }

  // The array beside which something was written; null if none.
  const char* overrun() const {
    for (const Array& array : arrays_) {
      if (!poisoned(array.data - kGuardBytes) ||
          !poisoned(array.data + (array.bytes + 3) / 4 * 4)) {
        return array.name;
      }
    }
    return nullptr;
  }

 private:
  static constexpr size_t kMaxArrays = 16;
  static constexpr size_t kGuardBytes = 64;  // before and after each array
  struct Array {
    const char* name;
    size_t bytes;
    std::byte* data;
  };

  static bool poisoned(const std::byte* guard) {
    for (size_t i = 0; i < kGuardBytes; i += sizeof(kPoison)) {
      if (std::memcmp(guard + i, &kPoison, sizeof(kPoison)) != 0) return false;
    }
    return true;
  }

  std::vector<uint32_t> storage_;
  std::vector<Array> arrays_;
  size_t used_ = 0;
  size_t bytes_ = 0;
};

}  // namespace krserve::kernels::simt
