#include "runtime/memory_pool/allocation_log.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <string_view>

#include "base/error.h"
#include "base/log.h"
#include "base/units.h"

namespace krserve::runtime {
namespace {

constexpr std::string_view kHeader = "# krserve allocation log 1";

// The fields of a line; fewer or more than `count` make none.
bool split(std::string_view line, size_t count, std::array<std::string_view, 6>& out) {
  for (size_t i = 0; i < count; ++i) {
    const size_t comma = line.find(',');
    if ((comma == std::string_view::npos) != (i + 1 == count)) return false;
    out[i] = line.substr(0, comma);
    line.remove_prefix(comma == std::string_view::npos ? line.size() : comma + 1);
  }
  return true;
}

template <class T>
bool number(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

bool parse_tag(std::string_view text, MemoryTag& out) {
  for (uint32_t i = 0; i < kMemoryTags; ++i) {
    out = static_cast<MemoryTag>(i);
    if (text == to_string(out)) return true;
  }
  return false;
}

bool parse(std::string_view line, AllocationEvent& out) {
  std::array<std::string_view, 6> fields;
  out.allocates = line.starts_with('+');
  if (out.allocates) {
    return split(line, 6, fields) && number(fields[1], out.id) && number(fields[2], out.bytes) &&
           parse_tag(fields[3], out.tag) && number(fields[4], out.thread) &&
           number(fields[5], out.time_us);
  }
  return line.starts_with('-') && split(line, 4, fields) && number(fields[1], out.id) &&
         number(fields[2], out.thread) && number(fields[3], out.time_us);
}

}  // namespace

std::vector<AllocationEvent> read_allocation_log(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::string line;
  if (!std::getline(in, line) || line != kHeader) {
    throw_error<ConfigError>("allocation_log.read", "{} does not begin with '{}'", path.string(),
                             kHeader);
  }
  std::vector<AllocationEvent> events;
  std::vector<bool> live;  // by id
  for (uint64_t number = 2; std::getline(in, line); ++number) {
    if (line.starts_with('#')) continue;
    AllocationEvent event;
    bool good = parse(line, event);
    if (good && event.allocates) {
      good = event.id == live.size() && event.bytes > 0;
      live.push_back(true);
    } else if (good) {
      good = event.id < live.size() && live[event.id];
      if (good) live[event.id] = false;
    }
    if (!good) {
      throw_error<ConfigError>("allocation_log.read", "{}:{}: '{}' is no event of this log",
                               path.string(), number, line);
    }
    events.push_back(event);
  }
  return events;
}

LoggingAllocator::LoggingAllocator(std::unique_ptr<Allocator> inner,
                                   const std::filesystem::path& path)
    : AllocatorAdaptor(std::move(inner)), path_(path), start_ns_(now_ns()) {
  file_ = std::fopen(path.c_str(), "w");
  if (file_ == nullptr) {
    throw_error<ConfigError>("allocation_log.create",
                             "{} cannot be written; check memory_pool.allocation_log",
                             path.string());
  }
  write(kHeader.data(), kHeader.size());
  write("\n", 1);
}

LoggingAllocator::~LoggingAllocator() {
  collect(true);
  const std::lock_guard lock(mutex_);
  if (file_ != nullptr) std::fclose(file_);
}

void LoggingAllocator::flush() {
  const std::lock_guard lock(mutex_);
  if (file_ != nullptr) std::fflush(file_);
}

uint64_t LoggingAllocator::trim() {
  flush();
  return AllocatorAdaptor::trim();
}

void LoggingAllocator::write(const char* line, size_t bytes) {
  if (file_ == nullptr || std::fwrite(line, 1, bytes, file_) == bytes) return;
  log().warn("[allocation_log.write] {} ends here: it cannot be written", path_.string());
  std::fclose(file_);
  file_ = nullptr;
}

uint32_t LoggingAllocator::thread_number() {
  return threads_.try_emplace(std::this_thread::get_id(), static_cast<uint32_t>(threads_.size()))
      .first->second;
}

void LoggingAllocator::allocated(const Allocation& allocation) {
  const uint64_t time_us = (now_ns() - start_ns_) / 1000;
  const BufferView& view = allocation.view();
  const std::lock_guard lock(mutex_);
  live_[{view.buffer, view.offset}] = next_id_;
  fmt::memory_buffer line;
  fmt::format_to(std::back_inserter(line), "+,{},{},{},{},{}\n", next_id_++, view.bytes,
                 to_string(allocation.tag()), thread_number(), time_us);
  write(line.data(), line.size());
}

void LoggingAllocator::freed(const Allocation& allocation) noexcept {
  const uint64_t time_us = (now_ns() - start_ns_) / 1000;
  const std::lock_guard lock(mutex_);
  const auto it = live_.find({allocation.view().buffer, allocation.view().offset});
  if (it == live_.end()) return;
  fmt::memory_buffer line;
  fmt::format_to(std::back_inserter(line), "-,{},{},{}\n", it->second, thread_number(), time_us);
  write(line.data(), line.size());
  live_.erase(it);
}

}  // namespace krserve::runtime
