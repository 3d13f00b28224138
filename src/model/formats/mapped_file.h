// A regular file mapped read-only into memory for as long as the object lives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace krserve {

// Hints to the kernel about how the pages will be read.
enum class MapAdvice { kSequential, kRandom, kWillNeed };

// The file must not shrink while it is mapped: reading a page that is gone raises SIGBUS.
class MappedFile {
 public:
  // Throws ModelError when the path cannot be opened, is not a regular file or cannot be mapped.
  explicit MappedFile(std::filesystem::path path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  // Page aligned; null when the file is empty.
  const std::byte* data() const noexcept { return data_; }
  uint64_t size() const noexcept { return size_; }
  const std::filesystem::path& path() const noexcept { return path_; }

  // A hint; errors are of no consequence and ignored.
  void advise(MapAdvice advice) const noexcept;
  // Reads these bytes (the offset is page aligned) and maps their pages, so that using them does
  // not wait for the disk. False when the system cannot, or the file has become shorter.
  bool populate(uint64_t offset, uint64_t bytes) const noexcept;
  // Drops the whole pages inside these bytes from resident memory; reading them again is valid.
  void release(const std::byte* data, uint64_t bytes) const noexcept;

 private:
  void unmap() noexcept;

  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  uint64_t size_ = 0;
};

}  // namespace krserve
