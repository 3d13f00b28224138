#include <atomic>
#include <thread>

#include "base/error.h"
#include "base/units.h"
#include "blit/blit_bench.h"
#include "blit/decode_loop.h"
#include "runtime/blit_queue/blit_queue.h"

namespace krserve::bench {
namespace {

constexpr uint64_t kBlock = 1 * kMiB;
constexpr uint32_t kBlocks = 64;  // more than the caches hold

// Streams blocks to the device and back, as a KV tier on the host would, while it is let.
class Streamer {
 public:
  Streamer(Device& device, runtime::Transfers& transfers) : transfers_(transfers) {
    device_ = device.new_buffer(kBlock * kBlocks, Storage::kShared);
    host_.resize(kBlock * kBlocks, std::byte{1});
    thread_ = std::thread([this] { run(); });
  }
  ~Streamer() {
    stopping_ = true;
    thread_.join();
  }
  Streamer(const Streamer&) = delete;
  Streamer& operator=(const Streamer&) = delete;

  void let(bool run) { running_ = run; }
  uint64_t bytes() const { return bytes_; }

 private:
  void run() {
    for (uint64_t i = 0; !stopping_; ++i) {
      if (!running_) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        continue;
      }
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
  std::atomic<uint64_t> bytes_{0};
  std::atomic<bool> running_{false};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

struct Paced {
  int64_t mb_per_s = 0;
  std::unique_ptr<runtime::BlitQueue> blit;
  std::unique_ptr<DecodeLoop> decode;
  std::unique_ptr<Streamer> streamer;
  std::vector<double> alone{}, beside{}, slowdown{}, overlap{}, copied{};
};

// In short turns, so that what else the machine does falls on both.
constexpr uint32_t kTurnSteps = 10;

void measure(Paced& paced, uint32_t steps) {
  paced.blit->reset_statistics();
  const uint64_t before = paced.streamer->bytes();
  double alone_s = 0;
  double beside_s = 0;
  for (uint32_t done = 0; done < steps; done += kTurnSteps) {
    alone_s += kTurnSteps / paced.decode->run(kTurnSteps);
    paced.streamer->let(true);
    beside_s += kTurnSteps / paced.decode->run(kTurnSteps);
    paced.streamer->let(false);
  }
  paced.alone.push_back(steps / alone_s);
  paced.beside.push_back(steps / beside_s);
  paced.slowdown.push_back(1 - alone_s / beside_s);
  paced.overlap.push_back(paced.blit->statistics().overlap_ratio);
  paced.copied.push_back(static_cast<double>(paced.streamer->bytes() - before) / beside_s / 1e9);
}

}  // namespace

Json run_overlap(const Options& options) {
  if (options.model_dir.empty()) throw UsageError("blit_bench.overlap", "give --model DIR");
  const auto device = open_device(options);
  runtime::DirectAllocator allocator(device);
  std::vector<Paced> runs;
  const uint32_t steps = ceil_div(static_cast<uint32_t>(options.steps), kTurnSteps) * kTurnSteps;
  for (const int64_t pace : options.paces_mb_per_s) {
    Paced& paced = runs.emplace_back();
    paced.mb_per_s = pace;
    BlitQueueConfig config;
    config.background_mb_per_s = pace;
    paced.blit = std::make_unique<runtime::BlitQueue>(device, config);
    paced.decode =
        std::make_unique<DecodeLoop>(device, allocator, *paced.blit, options.model_dir, 16);
    paced.streamer = std::make_unique<Streamer>(*device, *paced.blit);
    paced.decode->run(kTurnSteps);
  }
  for (int i = 0; i < options.repeats; ++i) {
    for (Paced& paced : runs) measure(paced, steps);
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
  return {{"block_bytes", kBlock},
          {"steps", steps},
          {"bar_overlap", 0.8},
          {"bar_slowdown", 0.1},
          {"runs", out}};
}

}  // namespace krserve::bench
