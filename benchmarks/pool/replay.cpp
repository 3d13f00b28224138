#include "pool/replay.h"

#include <algorithm>

#include "base/units.h"
#include "pool/workloads.h"

namespace krserve::bench {

using runtime::AllocationEvent;

namespace {

struct Times {
  std::vector<uint32_t> allocate;
  std::vector<uint32_t> free;
};

template <class P>
void replay_once(P& peer, const std::vector<AllocationEvent>& log, std::vector<Block>& blocks,
                 Times& times) {
  for (const AllocationEvent& event : log) {
    Block& block = blocks[event.id];
    const uint64_t start = now_ns();
    if (event.allocates) {
      peer.allocate(event.bytes, event.tag, block);
    } else {
      peer.free(block);
    }
    const auto took = static_cast<uint32_t>(now_ns() - start);
    (event.allocates ? times.allocate : times.free).push_back(took);
  }
  for (Block& block : blocks) {
    if (block.allocation || block.pointer) peer.free(block);
  }
}

}  // namespace

nlohmann::json run_replay(Peer& peer, const std::vector<AllocationEvent>& log,
                          uint64_t operations) {
  const auto allocations = static_cast<size_t>(std::count_if(
      log.begin(), log.end(), [](const AllocationEvent& event) { return event.allocates; }));
  std::vector<Block> blocks(allocations);
  Times times;
  visit(peer, [&](auto& p) {
    do {
      replay_once(p, log, blocks, times);
    } while (times.allocate.size() + times.free.size() < operations && !peer.slow());
    return 0;
  });
  nlohmann::json out = {{"allocations", times.allocate.size()},
                        {"frees", times.free.size()},
                        {"allocate", to_json(percentiles(times.allocate))}};
  if (!times.free.empty()) out["free"] = to_json(percentiles(times.free));
  if (auto* pool = dynamic_cast<AllocatorPeer*>(&peer)) {
    const runtime::PoolStatistics s = pool->allocator().statistics();
    out["hit_rate"] = s.hit_rate;
    out["exhaustion_count"] = s.exhaustion_count;
    out["peak_bytes"] = s.peak_bytes;
    out["fallback_allocations"] = s.fallback_allocations;
  }
  return out;
}

nlohmann::json describe_log(const std::vector<AllocationEvent>& log) {
  std::vector<uint64_t> bytes;
  nlohmann::json by_tag;
  uint64_t live = 0;
  uint64_t most = 0;
  uint64_t largest = 0;
  for (const AllocationEvent& event : log) {
    if (!event.allocates) {
      live -= bytes[event.id];
      continue;
    }
    bytes.push_back(event.bytes);
    live += event.bytes;
    most = std::max(most, live);
    largest = std::max(largest, event.bytes);
    auto& count = by_tag[runtime::to_string(event.tag)];
    count = count.is_null() ? 1 : count.get<uint64_t>() + 1;
  }
  return {{"events", log.size()},
          {"allocations", bytes.size()},
          {"allocations_by_tag", by_tag},
          {"largest_bytes", largest},
          {"most_live_bytes", most},
          {"seconds", log.empty() ? 0.0 : static_cast<double>(log.back().time_us) / 1e6}};
}

}  // namespace krserve::bench
