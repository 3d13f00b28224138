#include "model/formats/file_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace krserve {
namespace {

constexpr const char* kWhere = "model.read";

[[noreturn]] void refuse(const std::filesystem::path& path, const char* what, int error) {
  throw_error<ModelError>(kWhere, "{}: cannot {}: {} (errno {}); check the disk and permissions",
                          path.string(), what, std::strerror(error), error);
}

}  // namespace

FileReader::FileReader(std::filesystem::path path, PreadFunction pread)
    : path_(std::move(path)), pread_(pread ? pread : &::pread) {
  fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) refuse(path_, "open", errno);
}

FileReader::~FileReader() {
  if (fd_ >= 0) ::close(fd_);
}

FileReader::FileReader(FileReader&& other) noexcept
    : path_(std::move(other.path_)), pread_(other.pread_), fd_(std::exchange(other.fd_, -1)) {}

void FileReader::read(std::byte* out, uint64_t offset, uint64_t bytes) const {
  for (uint64_t done = 0; done < bytes;) {
    const ssize_t count = pread_(fd_, out + done, bytes - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) refuse(path_, "read", errno);
    if (count == 0) {
      throw_error<ModelError>(kWhere,
                              "{}: ends at byte {}, {} bytes at {} were expected; the file was cut "
                              "short, re-download it",
                              path_.string(), offset + done, bytes, offset);
    }
    done += static_cast<uint64_t>(count);
  }
}

uint64_t FileReader::size() const {
  struct stat status{};
  if (::fstat(fd_, &status) != 0) refuse(path_, "stat", errno);
  return static_cast<uint64_t>(status.st_size);
}

}  // namespace krserve
