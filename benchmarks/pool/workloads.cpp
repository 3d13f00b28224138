#include "pool/workloads.h"

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cmath>
#include <numeric>
#include <random>
#include <thread>

#include "base/units.h"

namespace krserve::bench {

using runtime::MemoryTag;

namespace {

constexpr size_t kSizes = 1 << 16;
constexpr size_t kLive = 2048;  // blocks of a thread

// Drawn before the clock runs.
std::vector<uint32_t> draw_sizes(const Mix& mix, uint32_t seed) {
  std::mt19937_64 random(seed);
  const double low = std::log2(static_cast<double>(mix.min_bytes));
  const double high = std::log2(static_cast<double>(mix.max_bytes));
  std::uniform_real_distribution<double> exponent(low, high);
  std::vector<uint32_t> sizes(kSizes);
  for (uint32_t& size : sizes) size = static_cast<uint32_t>(std::exp2(exponent(random)));
  return sizes;
}

MemoryTag tag_of(size_t i) {
  return static_cast<MemoryTag>(i % runtime::kMemoryTags);
}

template <class P>
std::vector<Block> make_holes(P& peer, const std::vector<uint32_t>& sizes, uint64_t holes) {
  std::vector<Block> blocks(2 * holes);
  for (size_t i = 0; i < blocks.size(); ++i) {
    peer.allocate(sizes[i % kSizes], tag_of(i), blocks[i]);
  }
  std::vector<Block> live(holes);
  for (size_t i = 0; i < holes; ++i) {
    peer.free(blocks[2 * i]);
    live[i] = std::move(blocks[2 * i + 1]);
  }
  return live;
}

template <class P>
HolesResult holes_of(P& peer, const Mix& mix, uint64_t holes, uint64_t operations, uint32_t seed) {
  const std::vector<uint32_t> sizes = draw_sizes(mix, seed);
  std::vector<Block> live = make_holes(peer, sizes, holes);
  std::mt19937_64 random(seed + 1);
  std::vector<uint32_t> times(operations);
  HolesResult out;
  out.holes = holes;
  for (size_t i = 0; i < operations; ++i) {
    const uint64_t bytes = sizes[random() % kSizes];
    Block block;
    const uint64_t start = now_ns();
    peer.allocate(bytes, tag_of(i), block);
    peer.free(block);
    times[i] = static_cast<uint32_t>(now_ns() - start);
  }
  out.pair = percentiles(times);
  for (size_t i = 0; i < operations; ++i) {
    const uint64_t bytes = sizes[random() % kSizes];
    Block& block = live[random() % live.size()];
    const uint64_t start = now_ns();
    peer.free(block);
    peer.allocate(bytes, tag_of(i), block);
    times[i] = static_cast<uint32_t>(now_ns() - start);
  }
  out.replace = percentiles(times);
  for (Block& block : live) peer.free(block);
  return out;
}

// Threads of one race on processors of their own, or they would take turns instead of meeting.
void pin(uint32_t thread) {
#if defined(__linux__)
  cpu_set_t processors;
  CPU_ZERO(&processors);
  CPU_SET(thread % std::thread::hardware_concurrency(), &processors);
  pthread_setaffinity_np(pthread_self(), sizeof processors, &processors);
#else
  (void)thread;
#endif
}

// prepare(thread) gives what each thread runs; all start together. Operations per second of the
// mean thread.
template <class Prepare>
double race(uint32_t threads, uint64_t operations, Prepare prepare) {
  std::barrier<> start(static_cast<std::ptrdiff_t>(threads));
  std::atomic<uint64_t> sum_ns{0};
  std::vector<std::thread> team;
  for (uint32_t t = 0; t < threads; ++t) {
    team.emplace_back([&, t] {
      pin(t);
      auto work = prepare(t);
      start.arrive_and_wait();
      const uint64_t begin = now_ns();
      work();
      sum_ns += now_ns() - begin;
    });
  }
  for (std::thread& thread : team) thread.join();
  return static_cast<double>(operations * threads) * 1e9 / static_cast<double>(sum_ns.load());
}

template <class P>
double threads_of(P& peer, const Mix& mix, uint32_t threads, uint64_t operations) {
  std::vector<std::vector<Block>> live(threads);
  const double rate = race(threads, operations, [&](uint32_t t) {
    live[t].resize(kLive);
    std::vector<uint32_t> sizes = draw_sizes(mix, 100 + t);
    for (size_t i = 0; i < kLive; ++i) peer.allocate(sizes[i], tag_of(t), live[t][i]);
    return [&peer, &mine = live[t], sizes = std::move(sizes), t, operations] {
      std::minstd_rand random(t + 1);
      for (uint64_t i = 0; i < operations; ++i) {
        Block& block = mine[random() % kLive];
        peer.free(block);
        peer.allocate(sizes[i % kSizes], tag_of(t), block);
      }
    };
  });
  for (auto& blocks : live) {
    for (Block& block : blocks) peer.free(block);
  }
  return rate;
}

}  // namespace

Percentiles percentiles(std::vector<uint32_t>& ns) {
  std::sort(ns.begin(), ns.end());
  const auto at = [&](double fraction) {
    const auto index = static_cast<size_t>(fraction * static_cast<double>(ns.size() - 1));
    return static_cast<double>(ns[index]) / 1e3;
  };
  const double sum = std::accumulate(ns.begin(), ns.end(), 0.0);
  return {at(0.5), at(0.99), at(0.999), sum / static_cast<double>(ns.size()) / 1e3};
}

nlohmann::json to_json(const Percentiles& p) {
  return {
      {"p50_us", p.p50_us}, {"p99_us", p.p99_us}, {"p999_us", p.p999_us}, {"mean_us", p.mean_us}};
}

const std::vector<Mix>& mixes() {
  static const std::vector<Mix> all = {
      {"small", 64, 16 * kKiB}, {"mixed", 64, 64 * kKiB}, {"large", 40 * kKiB, 256 * kKiB}};
  return all;
}

HolesResult run_holes(Peer& peer, const Mix& mix, uint64_t holes, uint64_t operations,
                      uint32_t seed) {
  return visit(peer, [&](auto& p) { return holes_of(p, mix, holes, operations, seed); });
}

double run_threads(Peer& peer, const Mix& mix, uint32_t threads, uint64_t operations) {
  return visit(peer, [&](auto& p) { return threads_of(p, mix, threads, operations); });
}

double run_plain_threads(uint32_t threads) {
  constexpr uint64_t kRounds = 40'000'000;
  static std::atomic<uint64_t> sink{0};
  return race(threads, kRounds, [](uint32_t t) {
    return [t] {
      uint64_t state = t + 1;
      for (uint64_t i = 0; i < kRounds; ++i) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
      }
      sink += state;
    };
  });
}

double clock_overhead_ns() {
  std::vector<uint32_t> times(10001);
  for (uint32_t& time : times) {
    const uint64_t start = now_ns();
    time = static_cast<uint32_t>(now_ns() - start);
  }
  return percentiles(times).p50_us * 1e3;
}

}  // namespace krserve::bench
