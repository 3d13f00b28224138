#include "model/decoder/weight_stream.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <tuple>

#include "base/error.h"
#include "base/units.h"

namespace krserve {
namespace {

// What a thread reads at once: large for the disk, small for the progress.
constexpr uint64_t kPieceBytes = 4 * kMiB;

uint32_t reader_threads(const WeightLoading& options) {
  if (options.threads) return options.threads;
  return std::clamp(std::thread::hardware_concurrency(), 2U, 8U);
}

// Jobs [0, count) on threads of its own; the caller's thread reports progress. The first exception
// stops the rest and is thrown when all threads have ended.
class ParallelJobs {
 public:
  using Job = std::function<uint64_t(size_t)>;  // returns the bytes done

  ParallelJobs(size_t count, Job job) : count_(count), job_(std::move(job)) {}

  void run(uint32_t threads, uint64_t total_bytes, const LoadProgress& progress) {
    running_ = static_cast<uint32_t>(std::min<size_t>(threads, count_));
    std::vector<std::thread> team;
    for (uint32_t i = running_; i > 0; --i) team.emplace_back([this] { work(); });
    std::unique_lock lock(mutex_);
    while (running_ > 0) {
      changed_.wait(lock);
      const double done = static_cast<double>(done_bytes_) / static_cast<double>(total_bytes);
      lock.unlock();
      report(progress, done);
      lock.lock();
    }
    lock.unlock();
    for (std::thread& thread : team) thread.join();
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void work() {
    for (;;) {
      const size_t index = next_.fetch_add(1);
      if (index >= count_) break;
      uint64_t bytes = 0;
      try {
        bytes = job_(index);
      } catch (...) {
        const std::lock_guard lock(mutex_);
        if (!error_) error_ = std::current_exception();
        next_.store(count_);
      }
      const std::lock_guard lock(mutex_);
      done_bytes_ += bytes;
      changed_.notify_one();
    }
    const std::lock_guard lock(mutex_);
    --running_;
    changed_.notify_one();
  }

  // What the caller's function throws is an error like the others: the threads end first.
  void report(const LoadProgress& progress, double done) {
    if (!progress) return;
    try {
      progress(std::min(done, 1.0));
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
      next_.store(count_);
    }
  }

  const size_t count_;
  const Job job_;
  std::atomic<size_t> next_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t done_bytes_ = 0;
  uint32_t running_ = 0;
  std::exception_ptr error_;
};

// The map was made when the file was opened: reading what was cut off since would be a SIGBUS.
void check_size(const FileReader& reader, const MappedFile& file) {
  const uint64_t now = reader.size();
  if (now >= file.size()) return;
  throw_error<ModelError>("model.read",
                          "{}: {} bytes, but it had {} when it was opened; the file was cut short, "
                          "re-download it",
                          file.path().string(), now, file.size());
}

}  // namespace

WeightStream::WeightStream(const Checkpoint& checkpoint, runtime::Transfers& transfers,
                           const WeightLoading& options)
    : checkpoint_(checkpoint), transfers_(transfers), options_(options) {
  for (const SafetensorsFile& file : checkpoint.files()) {
    check_size(readers_.emplace_back(file.path(), options.pread), file.file());
  }
}

void WeightStream::add(const BufferView& dst, const std::byte* data) {
  for (size_t i = 0; i < readers_.size(); ++i) {
    const MappedFile& file = checkpoint_.files()[i].file();
    if (data < file.data() || data >= file.data() + file.size()) continue;
    const auto offset = static_cast<uint64_t>(data - file.data());
    for (uint64_t at = 0; at < dst.bytes; at += kPieceBytes) {
      pieces_.push_back({dst.sub(at, std::min(kPieceBytes, dst.bytes - at)), i, offset + at});
    }
    return;
  }
  throw ModelError("model.read", "a tensor lies outside the files of its checkpoint");
}

LoadReport WeightStream::run(const LoadProgress& progress) {
  LoadReport report;
  const uint64_t start = now_ns();
  // In the order of the disk.
  std::sort(pieces_.begin(), pieces_.end(), [](const Piece& a, const Piece& b) {
    return std::tie(a.file, a.offset) < std::tie(b.file, b.offset);
  });
  for (const Piece& piece : pieces_) report.bytes += piece.dst.bytes;
  std::vector<runtime::BlitId> ids(pieces_.size());
  ParallelJobs jobs(pieces_.size(), [&](size_t index) {
    const Piece& piece = pieces_[index];
    ids[index] = transfers_.upload_from(piece.dst, piece.dst.bytes,
                                        [&](std::byte* out, uint64_t at, uint64_t bytes) {
                                          readers_[piece.file].read(out, piece.offset + at, bytes);
                                        });
    return piece.dst.bytes;
  });
  jobs.run(reader_threads(options_), report.bytes, progress);
  // Each: a copy that failed is not in wait_all() any more.
  for (const runtime::BlitId id : ids) transfers_.wait(id);
  report.elapsed_ns = now_ns() - start;
  return report;
}

LoadReport touch_mapped(const Checkpoint& checkpoint, const WeightLoading& options,
                        const LoadProgress& progress) {
  struct Piece {
    size_t file;
    uint64_t offset;
    uint64_t bytes;
  };
  LoadReport report;
  const uint64_t start = now_ns();
  std::vector<FileReader> readers;
  std::vector<Piece> pieces;
  for (const SafetensorsFile& file : checkpoint.files()) {
    check_size(readers.emplace_back(file.path(), options.pread), file.file());
    const uint64_t size = file.file().size();
    for (uint64_t at = 0; at < size; at += kPieceBytes) {
      pieces.push_back({readers.size() - 1, at, std::min(kPieceBytes, size - at)});
    }
    report.bytes += size;
  }
  ParallelJobs jobs(pieces.size(), [&](size_t index) {
    const Piece& piece = pieces[index];
    const MappedFile& file = checkpoint.files()[piece.file].file();
    if (options.pread || !file.populate(piece.offset, piece.bytes)) {
      std::vector<std::byte> scratch(piece.bytes);
      readers[piece.file].read(scratch.data(), piece.offset, piece.bytes);
    }
    return piece.bytes;
  });
  jobs.run(reader_threads(options), report.bytes, progress);
  report.elapsed_ns = now_ns() - start;
  return report;
}

}  // namespace krserve
