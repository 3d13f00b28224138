#include "model/convert/convert.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/error.h"
#include "model/convert/plan.h"
#include "model/convert/row_converter.h"
#include "model/convert/text_files.h"
#include "model/formats/staging_directory.h"
#include "model/formats/weights.h"

namespace krserve {
namespace {

namespace fs = std::filesystem;
using convert::Plan;
using convert::Task;
using convert::Writers;

constexpr const char* kWhere = "model.convert";

void check_options(const fs::path& source, const fs::path& target, const ConvertOptions& options) {
  if (!is_supported(options.quantization)) {
    throw_error<UsageError>(kWhere, "{} bits in groups of {}; choose {}", options.quantization.bits,
                            options.quantization.group_size, kSupportedQuantization);
  }
  std::error_code error;
  const fs::path from = fs::weakly_canonical(source, error);
  const fs::path to = fs::weakly_canonical(target, error);
  // Replacing removes what the target holds.
  const auto end = std::mismatch(to.begin(), to.end(), from.begin(), from.end());
  if (end.first == to.end()) {
    throw_error<UsageError>(kWhere, "{} is the source, or holds it; choose another directory",
                            target.string());
  }
  if (!options.replace && fs::is_directory(target, error) && !fs::is_empty(target, error)) {
    throw_error<UsageError>(kWhere,
                            "'{}' exists and is not empty; choose another directory, or replace "
                            "the model in it with --force",
                            target.string());
  }
}

void refuse_quantized(const fs::path& source, const ModelConfig& config) {
  if (!config.quantization) return;
  throw_error<ModelError>(kWhere,
                          "{} is quantized already ({} bits, groups of {}); convert the 16-bit "
                          "version of the model",
                          source.string(), config.quantization->base.bits,
                          config.quantization->base.group_size);
}

// Hands out tasks and progress, and keeps the first failure.
class Work {
 public:
  Work(std::vector<Task> tasks, uint64_t total, const ConvertProgress& progress)
      : tasks_(std::move(tasks)), total_(total), progress_(progress) {}

  void run(convert::RowConverter converter) noexcept {
    try {
      while (const Task* task = next()) {
        converter.run(*task);
        report(task->source_bytes());
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
      stopped_ = true;
    }
  }

  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  const Task* next() {
    if (stopped_) return nullptr;
    const size_t index = next_++;
    return index < tasks_.size() ? &tasks_[index] : nullptr;
  }

  void report(uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    done_ += bytes;
    if (progress_) progress_(static_cast<double>(done_) / static_cast<double>(total_));
  }

  const std::vector<Task> tasks_;
  const uint64_t total_;
  const ConvertProgress& progress_;
  std::atomic<size_t> next_ = 0;
  std::atomic<bool> stopped_ = false;
  std::mutex mutex_;
  uint64_t done_ = 0;
  std::exception_ptr failure_;
};

void write_tensors(const Checkpoint& checkpoint, const Plan& plan, const fs::path& directory,
                   const ConvertOptions& options, const ConvertProgress& progress) {
  Writers writers;
  for (size_t i = 0; i < plan.shards.size(); ++i) {
    writers.push_back(
        std::make_unique<SafetensorsWriter>(directory / plan.shard_name(i), plan.shards[i], "mlx"));
  }
  const convert::Sources sources(checkpoint);
  Work work(convert::split(plan), plan.report.source_bytes, progress);
  const uint32_t wanted =
      options.threads > 0 ? options.threads : std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> team;
  for (uint32_t i = 1; i < wanted; ++i) {
    team.emplace_back([&] { work.run({sources, writers}); });
  }
  work.run({sources, writers});
  for (std::thread& member : team) member.join();
  work.rethrow();
  for (const auto& writer : writers) writer->finish();
}

void copy_files(const std::vector<fs::path>& files, const fs::path& directory) {
  for (const fs::path& file : files) {
    std::error_code error;
    fs::copy_file(file, directory / file.filename(), error);
    if (error) {
      throw_error<ModelError>(kWhere,
                              "cannot copy {} to {}: {}; check the permissions and the free space "
                              "of the disk",
                              file.string(), directory.string(), error.message());
    }
  }
}

}  // namespace

ConvertReport convert_model(const fs::path& source, const fs::path& target,
                            const ConvertOptions& options, const ConvertProgress& progress) {
  check_options(source, target, options);
  const Checkpoint checkpoint(source);
  const ModelConfig config = read_model_config(source);
  refuse_quantized(source, config);
  const auto dtype = options.dtype ? options.dtype : convert::declared_dtype(source);
  Plan plan = convert::make_plan(checkpoint, config, options, dtype);
  StagingDirectory staging(kWhere, target, options.replace);
  staging.require_space(plan.report.bytes);
  staging.write_text("config.json", convert::config_text(source, options.quantization, plan.tied));
  staging.write_text("model.safetensors.index.json", convert::index_text(plan));
  copy_files(convert::files_to_copy(source), staging.path());
  write_tensors(checkpoint, plan, staging.path(), options, progress);
  // What we write, we can read.
  load_decoder_weights(Checkpoint(staging.path()), read_model_config(staging.path()));
  staging.commit();
  return std::move(plan.report);
}

}  // namespace krserve
