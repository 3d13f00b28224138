#include "device/cpu/cpu_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/units.h"

namespace krserve {

CpuBuffer::CpuBuffer(uint64_t bytes, Storage storage, std::shared_ptr<MemoryCounter> counter)
    : bytes_(bytes), storage_(storage), counter_(std::move(counter)) {
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  if (bytes == 0 || bytes > UINT64_MAX - page) {
    throw_error<OutOfMemoryError>("cpu_device.allocate", "a buffer of {} bytes was asked for",
                                  bytes);
  }
  mapped_bytes_ = align_up(bytes, page);
  void* address = mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) {
    throw_error<OutOfMemoryError>(
        "cpu_device.allocate",
        "{} refused by the system ({} held); lower the pool's heaps or the "
        "KV cache",
        format_bytes(bytes), format_bytes(counter_->snapshot().live_bytes));
  }
  data_ = static_cast<std::byte*>(address);
#ifdef MADV_HUGEPAGE
  constexpr uint64_t kHugePage = 2 * kMiB;
  if (bytes >= kHugePage) madvise(data_, mapped_bytes_, MADV_HUGEPAGE);
#endif
  counter_->add(bytes_);
}

CpuBuffer::~CpuBuffer() {
  munmap(data_, mapped_bytes_);
  counter_->remove(bytes_);
}

}  // namespace krserve
