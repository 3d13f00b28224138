// Reads ranges of a file into memory of the caller's choice, from any thread.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace krserve {

// pread(2), or what a test puts in its place.
using PreadFunction = ssize_t (*)(int fd, void* out, size_t bytes, off_t offset);

class FileReader {
 public:
  // Throws ModelError when the file cannot be opened.
  explicit FileReader(std::filesystem::path path, PreadFunction pread = nullptr);
  ~FileReader();
  FileReader(FileReader&& other) noexcept;
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;
  FileReader& operator=(FileReader&&) = delete;

  // Throws ModelError when the file ends before, or cannot be read.
  void read(std::byte* out, uint64_t offset, uint64_t bytes) const;
  uint64_t size() const;

 private:
  std::filesystem::path path_;
  PreadFunction pread_;
  int fd_ = -1;
};

}  // namespace krserve
