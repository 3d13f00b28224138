#include <atomic>
#include <thread>

#include "base/error.h"
#include "base/units.h"
#include "blit/blit_bench.h"
#include "blit/decode_loop.h"
#include "device/cpu/cpu_device.h"
#include "runtime/blit_queue/blit_queue.h"

namespace krserve::bench {
namespace {

constexpr uint64_t kBlock = 1 * kMiB;
constexpr uint32_t kBlocks = 64;  // more than the caches hold

// Streams blocks to the device and back, as a KV tier on the host would, until it is stopped.
class Streamer {
 public:
  Streamer(Device& device, runtime::Transfers& transfers) : transfers_(transfers) {
    device_ = device.new_buffer(kBlock * kBlocks, Storage::kShared);
    host_.resize(kBlock * kBlocks, std::byte{1});
    thread_ = std::thread([this] { run(); });
  }
  // GB/s since the start, both directions together.
  double stop() {
    stopping_ = true;
    thread_.join();
    return static_cast<double>(bytes_) / static_cast<double>(now_ns() - start_ns_);
  }

 private:
  void run() {
    for (uint64_t i = 0; !stopping_; ++i) {
      const uint64_t out = i % kBlocks * kBlock;
      const uint64_t in = (i + kBlocks / 2) % kBlocks * kBlock;
      transfers_.upload({device_.get(), out, kBlock}, host_.data() + out, kBlock, {},
                        runtime::BlitPriority::kKv);
      transfers_.wait(transfers_.download(host_.data() + in, {device_.get(), in, kBlock}, kBlock,
                                          {}, runtime::BlitPriority::kKv));
      bytes_ += 2 * kBlock;
    }
  }

  runtime::Transfers& transfers_;
  std::unique_ptr<Buffer> device_;
  std::vector<std::byte> host_;
  uint64_t bytes_ = 0;
  const uint64_t start_ns_ = now_ns();
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

struct Paced {
  int64_t mb_per_s = 0;
  std::unique_ptr<runtime::BlitQueue> blit;
  std::unique_ptr<DecodeLoop> decode;
  std::vector<double> alone{}, beside{}, slowdown{}, overlap{}, copied{};
};

void measure(Paced& paced, Device& device, uint32_t steps) {
  const double alone = paced.decode->run(steps);
  paced.blit->reset_statistics();
  Streamer streamer(device, *paced.blit);
  const double beside = paced.decode->run(steps);
  const double rate = streamer.stop();
  paced.alone.push_back(alone);
  paced.beside.push_back(beside);
  paced.slowdown.push_back(1 - beside / alone);
  paced.overlap.push_back(paced.blit->statistics().overlap_ratio);
  paced.copied.push_back(rate);
}

}  // namespace

Json run_overlap(const Options& options) {
  if (options.model_dir.empty()) throw UsageError("blit_bench.overlap", "give --model DIR");
  const auto device = make_cpu_device({.threads = options.threads, .simd_level = {}});
  runtime::DirectAllocator allocator(device);
  std::vector<Paced> runs;
  const auto steps = static_cast<uint32_t>(options.steps);
  for (const int64_t pace : options.paces_mb_per_s) {
    Paced& paced = runs.emplace_back();
    paced.mb_per_s = pace;
    BlitQueueConfig config;
    config.background_mb_per_s = pace;
    paced.blit = std::make_unique<runtime::BlitQueue>(device, config);
    paced.decode = std::make_unique<DecodeLoop>(device, allocator, *paced.blit, options.model_dir,
                                                align_up(steps, 16));
    paced.decode->run(8);
  }
  for (int i = 0; i < options.repeats; ++i) {
    for (Paced& paced : runs) measure(paced, *device, steps);
  }
  Json out = Json::array();
  for (const Paced& paced : runs) {
    out.push_back({{"background_mb_per_s", paced.mb_per_s},
                   {"decode_alone_tokens_per_s", spread(paced.alone)},
                   {"decode_beside_copies_tokens_per_s", spread(paced.beside)},
                   {"slowdown", spread(paced.slowdown)},
                   {"overlap_ratio", spread(paced.overlap)},
                   {"copied_gb_per_s", spread(paced.copied)}});
  }
  return {{"block_bytes", kBlock}, {"steps", options.steps}, {"bar_overlap", 0.8},
          {"bar_slowdown", 0.1}, {"runs", out}};
}

}  // namespace krserve::bench
