// The CPU's table of kernels: one entry per op, in the variant for the machine's vector width.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/ops/ops.h"

namespace krserve::kernels {

enum class SimdLevel { kPortable, kAvx2, kAvx512, kAvx512Vnni };
inline constexpr SimdLevel kAllSimdLevels[] = {SimdLevel::kPortable, SimdLevel::kAvx2,
                                               SimdLevel::kAvx512, SimdLevel::kAvx512Vnni};

// Args and host addresses of the bound buffers, in the op's order; unbound ones are null.
struct Call {
  const void* args;
  void* const* buffers;
  // The same for all run() calls of one execution of a dispatch and no other; 0 if not known. What
  // a worker has prepared in its scratch memory for the dispatch is then prepared once.
  uint64_t serial = 0;

  template <class T>
  const T& args_as() const {
    return *static_cast<const T*>(args);
  }
  template <class T>
  T* buffer(uint32_t index) const {
    return static_cast<T*>(buffers[index]);
  }
};

// Memory of one worker, kept between calls and grown when a kernel asks for more.
class Scratch {
 public:
  struct Reserved {
    void* memory;
    bool kept;  // contents are those that the last call with this serial left
  };

  // At least `bytes`, aligned to 64. Contents are unspecified; the last result becomes invalid.
  void* reserve(size_t bytes);
  // The same, but keeps the contents if the last call had this serial, not 0, and as many bytes.
  Reserved reserve_for(uint64_t serial, size_t bytes);

 private:
  uint64_t serial_ = 0;
  std::vector<std::byte> storage_;
};

// A kernel is a number of independent tasks. Which worker runs which task never changes a result.
struct CpuKernel {
  // May read the step's header: it is called when the dispatch starts.
  uint32_t (*task_count)(const Call& call) = nullptr;
  void (*run)(const Call& call, uint32_t begin, uint32_t end, Scratch& scratch) = nullptr;
};

struct CpuKernelTable {
  CpuKernel kernels[ops::kOpCount];
  SimdLevel level;
};

// The best level this processor and operating system support.
SimdLevel detect_simd_level();
bool simd_level_supported(SimdLevel level);
std::string_view to_string(SimdLevel level);
// `level` must be supported by the processor.
const CpuKernelTable& cpu_kernel_table(SimdLevel level);

}  // namespace krserve::kernels
