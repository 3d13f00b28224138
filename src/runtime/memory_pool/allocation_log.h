// The log of allocations: written by an adaptor around any allocator, read by the replay benchmark.
//
// Text. The first line is "# krserve allocation log 1"; later lines that begin with # are comments.
// Then one line for each event, in the order in which they happened:
//   +,id,bytes,tag,thread,microseconds   an allocation; ids are 0, 1, 2, ... and never used again
//   -,id,thread,microseconds             it was given back (when, not when that was put off to)
// Threads are numbered as they appear; microseconds count from the start of the log.
#pragma once

#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "runtime/memory_pool/adaptors.h"

namespace krserve::runtime {

struct AllocationEvent {
  bool allocates = false;
  uint64_t id = 0;
  uint64_t bytes = 0;  // of an allocation
  MemoryTag tag = MemoryTag::kOther;
  uint32_t thread = 0;
  uint64_t time_us = 0;
};

// Throws ConfigError for a file that is missing or not such a log, with the line.
std::vector<AllocationEvent> read_allocation_log(const std::filesystem::path& path);

class LoggingAllocator final : public AllocatorAdaptor {
 public:
  // Replaces the file. Throws ConfigError if it cannot be written; a disk that fills up later ends
  // the log with a warning.
  LoggingAllocator(std::unique_ptr<Allocator> inner, const std::filesystem::path& path);
  ~LoggingAllocator() override;

  // Writes out what is buffered; trim() does too.
  void flush();
  uint64_t trim() override;

 private:
  void allocated(const Allocation& allocation) override;
  void freed(const Allocation& allocation) noexcept override;
  // With mutex_.
  uint32_t thread_number();
  void write(const char* line, size_t bytes);

  const std::filesystem::path path_;
  const uint64_t start_ns_;
  std::mutex mutex_;
  std::FILE* file_ = nullptr;  // null after a failed write
  uint64_t next_id_ = 0;
  struct Place {
    const Buffer* buffer;
    uint64_t offset;
    bool operator==(const Place&) const = default;
  };
  struct PlaceHash {
    size_t operator()(const Place& place) const {
      return std::hash<const void*>{}(place.buffer) ^ std::hash<uint64_t>{}(place.offset);
    }
  };
  std::unordered_map<Place, uint64_t, PlaceHash> live_;
  std::unordered_map<std::thread::id, uint32_t> threads_;
};

}  // namespace krserve::runtime
