#include "model/formats/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/units.h"

namespace krserve {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kDataAlignment = 64;
constexpr uint64_t kMaxWriteBytes = 64 * kMiB;

[[noreturn]] void refuse(const std::filesystem::path& path, const char* what, int error) {
  throw_error<ModelError>("safetensors.write",
                          "{}: cannot {}: {} (errno {}); check the path, its permissions and the "
                          "free space of the disk",
                          path.string(), what, std::strerror(error), error);
}

std::string header_bytes(const std::vector<TensorSpec>& tensors, const std::string& format) {
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", format}};
  uint64_t offset = 0;
  for (const TensorSpec& tensor : tensors) {
    const uint64_t end = offset + tensor.bytes();
    header[tensor.name] = {{"dtype", to_string(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize(align_up(kLengthBytes + text.size(), kDataAlignment) - kLengthBytes, ' ');
  const uint64_t length = text.size();
  std::string result(kLengthBytes, '\0');
  std::memcpy(result.data(), &length, kLengthBytes);
  return result + text;
}

}  // namespace

uint64_t TensorSpec::bytes() const {
  uint64_t count = 1;
  for (const int64_t size : shape) count *= static_cast<uint64_t>(size);
  return count * bytes_of(dtype);
}

SafetensorsWriter::SafetensorsWriter(std::filesystem::path path,
                                     const std::vector<TensorSpec>& tensors,
                                     const std::string& format)
    : path_(std::move(path)) {
  for (const TensorSpec& tensor : tensors) total_bytes_ += tensor.bytes();
  const std::string header = header_bytes(tensors, format);
  data_start_ = header.size();
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) refuse(path_, "create", errno);
  try {
    write_all(0, header.data(), header.size());
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

SafetensorsWriter::~SafetensorsWriter() {
  if (fd_ >= 0) ::close(fd_);
}

void SafetensorsWriter::append(const void* data, uint64_t bytes) {
  write_at(written_bytes_, data, bytes);
}

void SafetensorsWriter::write_at(uint64_t offset, const void* data, uint64_t bytes) {
  assert(offset + bytes <= total_bytes_);
  write_all(data_start_ + offset, static_cast<const char*>(data), bytes);
  written_bytes_ += bytes;
}

void SafetensorsWriter::finish() {
  assert(written_bytes_ == total_bytes_);
  // Some file systems report a full disk here only.
  if (::close(std::exchange(fd_, -1)) != 0) refuse(path_, "close", errno);
}

void SafetensorsWriter::write_all(uint64_t position, const char* data, uint64_t bytes) {
  while (bytes > 0) {
    const ssize_t written =
        ::pwrite(fd_, data, std::min(bytes, kMaxWriteBytes), static_cast<off_t>(position));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) refuse(path_, "write", errno);
    data += written;
    position += static_cast<uint64_t>(written);
    bytes -= static_cast<uint64_t>(written);
  }
}

}  // namespace krserve
