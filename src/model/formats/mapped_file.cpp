#include "model/formats/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/units.h"

namespace krserve {
namespace {

constexpr const char* kWhere = "model.map";

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { ::close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

[[noreturn]] void refuse(const std::filesystem::path& path, const char* what, int error) {
  throw_error<ModelError>(kWhere,
                          "{}: cannot {}: {} (errno {}); check the path and its permissions",
                          path.string(), what, std::strerror(error), error);
}

int to_madvise(MapAdvice advice) {
  switch (advice) {
    case MapAdvice::kSequential:
      return MADV_SEQUENTIAL;
    case MapAdvice::kRandom:
      return MADV_RANDOM;
    case MapAdvice::kWillNeed:
      return MADV_WILLNEED;
  }
  return MADV_NORMAL;
}

}  // namespace

MappedFile::MappedFile(std::filesystem::path path) : path_(std::move(path)) {
  const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) refuse(path_, "open", errno);
  const Descriptor file(fd);
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) refuse(path_, "stat", errno);
  if (!S_ISREG(status.st_mode)) {
    throw_error<ModelError>(kWhere, "{} is not a regular file; name a file", path_.string());
  }
  size_ = static_cast<uint64_t>(status.st_size);
  if (size_ == 0) return;
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.get(), 0);
  if (address == MAP_FAILED) refuse(path_, "map", errno);
  data_ = static_cast<const std::byte*>(address);
}

MappedFile::~MappedFile() {
  unmap();
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this != &other) {
    unmap();
    path_ = std::move(other.path_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

void MappedFile::advise(MapAdvice advice) const noexcept {
  if (data_ == nullptr) return;
  ::madvise(const_cast<std::byte*>(data_), size_, to_madvise(advice));
}

bool MappedFile::populate(uint64_t offset, uint64_t bytes) const noexcept {
#ifdef MADV_POPULATE_READ
  return ::madvise(const_cast<std::byte*>(data_) + offset, bytes, MADV_POPULATE_READ) == 0;
#else
  static_cast<void>(offset);
  static_cast<void>(bytes);
  return false;
#endif
}

void MappedFile::release(const std::byte* data, uint64_t bytes) const noexcept {
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<uintptr_t>(data);
  const uint64_t begin = align_up(address, page);
  const uint64_t end = (address + bytes) & ~(page - 1);
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

void MappedFile::unmap() noexcept {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  data_ = nullptr;
}

}  // namespace krserve
