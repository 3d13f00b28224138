#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>
#include <random>
#include <span>
#include <thread>

#include "base/error.h"
#include "base/units.h"
#include "blit/blit_bench.h"
#include "blit/decode_loop.h"
#include "runtime/blit_queue/blit_queue.h"

namespace krserve::bench {
namespace {

using runtime::BlitDirection;
using runtime::BlitPriority;

// Pages go in blocks of at least that size, however small a model's pages are.
constexpr uint64_t kSmallestBlock = 512 * kKiB;
// Times that a turn moves all blocks: enough steps beside them to tell the two rates apart.
constexpr int kPasses = 8;
// Of a decode run; positions start again then.
constexpr uint32_t kContext = 512;

// 0 .. count - 1 as the pages of a server lie that has run for a while: none is followed by its
// neighbour, which would make two copies one. The same each time.
std::vector<uint64_t> scattered(uint64_t count) {
  std::vector<uint64_t> order(count);
  std::iota(order.begin(), order.end(), uint64_t{0});
  std::shuffle(order.begin(), order.end(), std::mt19937_64(4));
  for (uint64_t i = 1; i < count; ++i) {
    if (order[i] == order[i - 1] + 1) std::swap(order[i], order[i - 1]);
  }
  return order;
}

// KV pages anywhere in device memory and their host tier in staging memory, list by list.
class KvTier {
 public:
  KvTier(Device& device, runtime::Transfers& transfers, uint64_t block_bytes, uint64_t blocks,
         uint64_t list_blocks)
      : transfers_(transfers),
        block_bytes_(block_bytes),
        list_blocks_(list_blocks),
        device_(device.new_buffer(block_bytes * blocks, Storage::kPrivate)),
        host_(device.new_buffer(block_bytes * blocks, Storage::kStaging)) {
    uint64_t next = 0;
    for (const uint64_t place : scattered(blocks)) {
      const BufferView at_device{device_.get(), place * block_bytes, block_bytes};
      const BufferView at_host{host_.get(), next++ * block_bytes, block_bytes};
      ins_.push_back({at_device, at_host});
      outs_.push_back({at_host, at_device});
    }
  }

  uint64_t bytes() const { return block_bytes_ * ins_.size(); }

  // Moves all blocks once; GB/s.
  double stream(BlitDirection direction) {
    const bool up = direction == BlitDirection::kUp;
    const uint64_t start = now_ns();
    runtime::BlitId last = 0;
    for (std::span<const runtime::ViewPair> rest(up ? ins_ : outs_); !rest.empty();) {
      const auto list = rest.first(std::min<size_t>(rest.size(), list_blocks_));
      rest = rest.subspan(list.size());
      last = up ? transfers_.upload_staged(list) : transfers_.download_staged(list);
      // Reads of shared memory happen when somebody waits for them.
      if (!up && unified()) transfers_.wait(last);
    }
    transfers_.wait(last);
    return static_cast<double>(bytes()) / static_cast<double>(now_ns() - start);
  }

  // Throws Error unless what went in comes out.
  void check() {
    auto* words = reinterpret_cast<uint64_t*>(host_->contents());
    const uint64_t count = bytes() / sizeof(uint64_t);
    for (uint64_t i = 0; i < count; ++i) words[i] = i * 0x9E3779B97F4A7C15U;
    stream(BlitDirection::kUp);
    std::memset(host_->contents(), 0, bytes());
    stream(BlitDirection::kDown);
    for (uint64_t i = 0; i < count; ++i) {
      if (words[i] == i * 0x9E3779B97F4A7C15U) continue;
      throw_error<Error>("blit_bench.kv", "byte {} of {} came back wrong", i * 8, bytes());
    }
  }

 private:
  bool unified() const { return device_->contents() != nullptr; }

  runtime::Transfers& transfers_;
  const uint64_t block_bytes_;
  const uint64_t list_blocks_;
  std::unique_ptr<Buffer> device_;
  std::unique_ptr<Buffer> host_;
  std::vector<runtime::ViewPair> ins_;
  std::vector<runtime::ViewPair> outs_;
};

struct Turn {
  const char* name;
  bool out;
  bool in;
  std::vector<double> out_rate{}, in_rate{}, alone{}, beside{}, slowdown{}, overlap{};
};

// Mean of the rates of a thread that streams one way.
void stream_passes(KvTier& tier, BlitDirection direction, std::vector<double>& rates,
                   std::atomic<int>& running) {
  double seconds_per_gb = 0;
  for (int pass = 0; pass < kPasses; ++pass) seconds_per_gb += 1 / tier.stream(direction);
  rates.push_back(kPasses / seconds_per_gb);
  --running;
}

void measure(Turn& turn, KvTier& out_tier, KvTier& in_tier, DecodeLoop& decode,
             runtime::BlitQueue& blit, uint32_t steps) {
  blit.reset_statistics();
  std::atomic<int> running{int{turn.out} + int{turn.in}};
  std::vector<std::thread> threads;
  if (turn.out) {
    threads.emplace_back(
        [&] { stream_passes(out_tier, BlitDirection::kDown, turn.out_rate, running); });
  }
  if (turn.in) {
    threads.emplace_back(
        [&] { stream_passes(in_tier, BlitDirection::kUp, turn.in_rate, running); });
  }
  const double beside = decode.run_while([&] { return running > 0; });
  for (std::thread& thread : threads) thread.join();
  const double overlap = blit.statistics().overlap_ratio;
  const double alone = decode.run(steps);
  turn.alone.push_back(alone);
  turn.beside.push_back(beside);
  turn.slowdown.push_back(1 - beside / alone);
  turn.overlap.push_back(overlap);
}

Json to_json(const Turn& turn) {
  Json out = {{"alone_tokens_per_s", spread(turn.alone)},
              {"beside_tokens_per_s", spread(turn.beside)},
              {"slowdown", spread(turn.slowdown)},
              {"overlap_ratio", spread(turn.overlap)}};
  if (turn.out) out["out_gb_per_s"] = spread(turn.out_rate);
  if (turn.in) out["in_gb_per_s"] = spread(turn.in_rate);
  return out;
}

uint64_t block_bytes_for(const std::filesystem::path& model_dir) {
  const ModelConfig model = read_model_config(model_dir);
  const uint64_t page = DecodeLoop::kv_layout(model).page_bytes;
  return page * ceil_div(kSmallestBlock, page);
}

}  // namespace

Json run_kv_stream(const Options& options) {
  if (options.model_dir.empty()) throw UsageError("blit_bench.kv", "give --model DIR");
  const auto device = open_device(options);
  runtime::DirectAllocator allocator(device);
  BlitQueueConfig config;
  config.staging_buffer_size_mb = 256;
  runtime::BlitQueue blit(device, config);
  const auto steps = static_cast<uint32_t>(options.steps);
  DecodeLoop decode(device, allocator, blit, options.model_dir, kContext);
  const uint64_t block = block_bytes_for(options.model_dir);
  const uint64_t blocks = std::max<uint64_t>(1, options.stream_mb * kMiB / block);
  KvTier out_tier(*device, blit, block, blocks, options.list_blocks);
  KvTier in_tier(*device, blit, block, blocks, options.list_blocks);
  out_tier.check();
  in_tier.check();
  // Without decode beside them: what the link can do.
  const double out_alone = out_tier.stream(BlitDirection::kDown);
  const double in_alone = in_tier.stream(BlitDirection::kUp);
  decode.run(steps);
  std::vector<Turn> turns = {{"out", true, false}, {"in", false, true}, {"both", true, true}};
  for (int i = 0; i < options.repeats; ++i) {
    for (Turn& turn : turns) measure(turn, out_tier, in_tier, decode, blit, steps);
  }
  Json result = {{"model", options.model_dir.filename().string()},
                 {"unified_memory", device->info().unified_memory},
                 {"block_bytes", block},
                 {"list_blocks", options.list_blocks},
                 {"stream_bytes", out_tier.bytes()},
                 {"passes", kPasses},
                 {"out_without_decode_gb_per_s", out_alone},
                 {"in_without_decode_gb_per_s", in_alone}};
  for (const Turn& turn : turns) result[turn.name] = to_json(turn);
  return result;
}

}  // namespace krserve::bench
