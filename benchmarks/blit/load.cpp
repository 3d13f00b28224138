#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "base/error.h"
#include "base/process.h"
#include "base/units.h"
#include "blit/blit_bench.h"
#include "device/cpu/cpu_device.h"
#include "model/decoder/device_weights.h"
#include "runtime/blit_queue/blit_queue.h"
#include "support/discrete_cpu.h"

namespace krserve::bench {
namespace {

// The bar's denominator: one thread, read(2), a buffer that stays in the cache. With `keep` the
// bytes go to fresh memory instead, as a load has to put them.
double sequential_read(const Checkpoint& checkpoint, bool keep) {
  std::vector<std::byte> scratch(kMiB);
  uint64_t bytes = 0;
  uint64_t spent_ns = 0;
  for (const SafetensorsFile& file : checkpoint.files()) {
    const uint64_t size = file.file().size();
    void* memory = MAP_FAILED;
    const uint64_t start = now_ns();
    if (keep) {
      memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
#ifdef MADV_HUGEPAGE
      madvise(memory, size, MADV_HUGEPAGE);
#endif
    }
    const int fd = ::open(file.path().c_str(), O_RDONLY);
    for (uint64_t at = 0; at < size;) {
      std::byte* out = keep ? static_cast<std::byte*>(memory) + at : scratch.data();
      const ssize_t count = ::read(fd, out, std::min<uint64_t>(kMiB, size - at));
      if (count <= 0) throw ModelError("blit_bench.load", "the file could not be read");
      at += static_cast<uint64_t>(count);
    }
    ::close(fd);
    spent_ns += now_ns() - start;
    if (keep) munmap(memory, size);
    bytes += size;
  }
  return static_cast<double>(bytes) / static_cast<double>(spent_ns);
}

struct Memory {
  uint64_t before = 0;
  uint64_t peak = 0;
};

// VmHWM since the last reset; 0 where there is none.
uint64_t peak_resident() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) * kKiB;
  }
  return 0;
}

struct Load {
  const char* name;
  std::shared_ptr<Device> device;
  bool stream;
  std::vector<double> rate{};
  std::vector<double> of_sequential{};
  double excess_mb = 0;  // resident beyond the weights, at worst
  double staging_mb = 0;
};

void measure(Load& load, const std::filesystem::path& model_dir, const ModelConfig& config,
             double sequential) {
  const uint64_t before = process_usage().resident_bytes;
  std::ofstream("/proc/self/clear_refs") << 5;
  const uint64_t start = now_ns();
  runtime::DirectAllocator allocator(load.device);
  runtime::BlitQueue blit(load.device, {});
  WeightLoading loading;
  loading.stream = load.stream;
  const DeviceWeights weights(load.device, allocator, blit,
                              std::make_shared<const Checkpoint>(model_dir), config, 128, {},
                              loading);
  const auto spent = static_cast<double>(now_ns() - start);
  const double rate = static_cast<double>(weights.load_report().bytes) / spent;
  load.rate.push_back(rate);
  load.of_sequential.push_back(rate / sequential);
  const auto beyond = static_cast<double>(peak_resident()) - static_cast<double>(before) -
                      static_cast<double>(weights.load_report().bytes);
  load.excess_mb = std::max(load.excess_mb, beyond / static_cast<double>(kMiB));
  load.staging_mb =
      static_cast<double>(blit.statistics().staging_bytes) / static_cast<double>(kMiB);
}

}  // namespace

Json run_load(const Options& options) {
  if (options.model_dir.empty()) throw UsageError("blit_bench.load", "give --model DIR");
  const Checkpoint checkpoint(options.model_dir);
  const ModelConfig config = read_model_config(options.model_dir);
  const auto cpu = make_cpu_device({.threads = options.threads, .simd_level = {}});
  std::vector<Load> loads = {
      {"mapped", cpu, false},
      {"streamed into shared memory", cpu, true},
      {"streamed through staging", std::make_shared<test::DiscreteCpu>(1), true}};
  std::vector<double> sequential;
  std::vector<double> kept;
  sequential_read(checkpoint, false);  // into the page cache
  for (int i = 0; i < options.repeats; ++i) {
    sequential.push_back(sequential_read(checkpoint, false));
    kept.push_back(sequential_read(checkpoint, true));
    for (Load& load : loads) measure(load, options.model_dir, config, sequential.back());
  }
  Json rows = Json::array();
  for (const Load& load : loads) {
    rows.push_back({{"load", load.name},
                    {"gb_per_s", spread(load.rate)},
                    {"of_sequential_read", spread(load.of_sequential)},
                    {"resident_beyond_weights_mb", load.excess_mb},
                    {"staging_mb", load.staging_mb}});
  }
  return {{"file_bytes", checkpoint.bytes()},
          {"bar_of_sequential_read", 0.9},
          {"sequential_read_gb_per_s", spread(sequential)},
          {"sequential_read_into_new_memory_gb_per_s", spread(kept)},
          {"loads", rows}};
}

}  // namespace krserve::bench
