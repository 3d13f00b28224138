// Fuzzes the memory pool on the fake device: the input is a list of operations, and a reference
// model says after each what must be true. Stops the program when it is not.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/units.h"
#include "device/fake/fake_device.h"
#include "runtime/memory_pool/memory_pool.h"

namespace krserve::runtime {
namespace {

#define KR_REQUIRE(condition)                                                        \
  do {                                                                               \
    if (!(condition)) {                                                              \
      std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                  \
    }                                                                                \
  } while (false)

constexpr uint64_t kLimit = 24 * kMiB;
constexpr size_t kMostLive = 600;

// Input bytes, zeros when they run out.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  bool done() const { return left_ == 0; }
  uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  uint64_t word() { return uint64_t{byte()} << 8 | byte(); }

 private:
  const uint8_t* data_;
  size_t left_;
};

struct Live {
  Allocation allocation;
  uint64_t stamp;
};

class Session {
 public:
  explicit Session(Input& in) : in_(in) {
    const uint8_t flags = in_.byte();
    MemoryPoolConfig config;
    config.heap_size_mb = flags & 1 ? 4 : 1;
    config.num_heaps = flags & 2 ? 3 : 1;
    config.warmup_sizes = flags & 4 ? std::vector<int64_t>{1, 2} : std::vector<int64_t>{};
    config.allow_growth = (flags & 8) != 0;
    config.track_statistics = (flags & 16) != 0;
    config.log_exhaustion = false;
    tracking_ = config.track_statistics;
    start_bytes_ = static_cast<uint64_t>(config.heap_size_mb * config.num_heaps) * kMiB;
    pool_.emplace(device_, config, MemoryLimit{kLimit, 0});
  }

  void run() {
    while (!in_.done()) {
      step();
      check();
    }
    finish();
  }

 private:
  void step() {
    switch (in_.byte() % 12) {
      case 0:
      case 1:
      case 2:
        return allocate(1 + in_.word() % (8 * kKiB));
      case 3:
        return allocate(1 + in_.word() * 32);
      case 4:
        return allocate(in_.word() * 128);
      case 5:
      case 6:
        return free_one();
      case 7:
        return defer_one();
      case 8:
        timeline_->signal(reached_ = std::max<uint64_t>(reached_, in_.byte()));
        return;
      case 9:
        pool_->collect(false);
        return forget_due(reached_);
      case 10:
        return tidy();
      default:
        device_->clear_faults();
        if (in_.byte() % 2) device_->inject(FakeFault::kAllocation, 1 + in_.byte() % 4);
    }
  }

  void allocate(uint64_t bytes) {
    if (live_.size() >= kMostLive) return;
    Live one;
    try {
      one.allocation = pool_->allocate(bytes, static_cast<MemoryTag>(bytes % kMemoryTags));
    } catch (const OutOfMemoryError&) {
      if (bytes > 0) forget_due(reached_);  // nothing is looked at for 0 bytes
      return;
    }
    forget_due(reached_);  // allocate() looks at what was put off
    KR_REQUIRE(bytes > 0);
    const BufferView& view = one.allocation.view();
    KR_REQUIRE(view.bytes == bytes && view.contents() != nullptr);
    KR_REQUIRE(reinterpret_cast<uintptr_t>(view.contents()) % 64 == 0);
    KR_REQUIRE(view.offset + view.bytes <= view.buffer->size_bytes());
    KR_REQUIRE(one.allocation.held_bytes() >= bytes &&
               one.allocation.held_bytes() <= bytes + bytes / 8 + 64);
    ++allocations_;
    one.stamp = allocations_;
    claim(one);
    stamp(one);
    live_.push_back(std::move(one));
  }

  // Memory that is live or waits for its timeline belongs to one allocation only.
  void claim(const Live& one) {
    const uintptr_t start = address(one);
    const uint64_t bytes = one.allocation.held_bytes();
    const auto next = claimed_.lower_bound(start);
    KR_REQUIRE(next == claimed_.end() || start + bytes <= next->first);
    KR_REQUIRE(next == claimed_.begin() ||
               std::prev(next)->first + std::prev(next)->second <= start);
    claimed_.emplace(start, bytes);
  }
  static uintptr_t address(const Live& one) {
    return reinterpret_cast<uintptr_t>(one.allocation.view().contents());
  }

  // A value at both ends: the memory is really there, and nobody else writes to it.
  static void stamp(const Live& one) {
    const BufferView& view = one.allocation.view();
    const uint64_t bytes = std::min<uint64_t>(sizeof one.stamp, view.bytes);
    std::memcpy(view.contents() + view.bytes - bytes, &one.stamp, bytes);
    std::memcpy(view.contents(), &one.stamp, bytes);
  }
  static bool intact(const Live& one) {
    const uint64_t bytes = std::min<uint64_t>(sizeof one.stamp, one.allocation.view().bytes);
    return std::memcmp(one.allocation.view().contents(), &one.stamp, bytes) == 0;
  }

  Live take_one() {
    std::swap(live_[in_.word() % live_.size()], live_.back());
    Live one = std::move(live_.back());
    live_.pop_back();
    KR_REQUIRE(intact(one));
    return one;
  }

  void free_one() {
    if (live_.empty()) return;
    const Live one = take_one();
    claimed_.erase(address(one));
  }

  void defer_one() {
    if (live_.empty()) return;
    Live one = take_one();
    const uint64_t value = in_.byte();
    if (value > reached_) {
      deferred_.emplace(value, std::pair(address(one), one.allocation.held_bytes()));
    } else {
      claimed_.erase(address(one));
    }
    pool_->free_after(std::move(one.allocation), {timeline_, value});
  }

  void forget_due(uint64_t reached) {
    const auto end = deferred_.upper_bound(reached);
    for (auto it = deferred_.begin(); it != end; ++it) claimed_.erase(it->second.first);
    deferred_.erase(deferred_.begin(), end);
  }

  void tidy() {
    const uint8_t what = in_.byte();
    if (what % 3 == 0) {
      pool_->trim();
      forget_due(reached_);
    } else if (what % 3 == 1) {
      pool_->collect(true);
      forget_due(UINT64_MAX);
    } else {
      pool_->reset_statistics();
      allocations_before_reset_ = allocations_;
    }
  }

  void check() {
    if (++steps_ % 8 != 0) return;
    KR_REQUIRE(pool_->check_integrity());
    const PoolStatistics s = pool_->statistics();
    uint64_t bytes = 0;
    std::array<TagStatistics, kMemoryTags> tags{};
    for (const Live& one : live_) {
      bytes += one.allocation.held_bytes();
      TagStatistics& tag = tags[static_cast<size_t>(one.allocation.tag())];
      tag.bytes += one.allocation.held_bytes();
      tag.objects += 1;
    }
    for (const auto& [value, block] : deferred_) bytes += block.second;
    KR_REQUIRE(claimed_.size() == live_.size() + deferred_.size());
    KR_REQUIRE(s.live_bytes == bytes);
    KR_REQUIRE(s.live_objects == live_.size() + deferred_.size());
    for (uint32_t i = 0; i < kMemoryTags && deferred_.empty(); ++i) {
      KR_REQUIRE(s.tags[i].bytes == tags[i].bytes && s.tags[i].objects == tags[i].objects);
    }
    KR_REQUIRE(device_->memory().live_bytes == s.heap_bytes + s.on_demand_bytes);
    KR_REQUIRE(device_->memory().live_bytes <= std::max(kLimit, start_bytes_));
    KR_REQUIRE(s.total_allocations == (tracking_ ? allocations_ - allocations_before_reset_ : 0));
    KR_REQUIRE(!tracking_ || s.peak_bytes >= s.live_bytes);
    KR_REQUIRE(s.largest_free_block_bytes <= s.heap_bytes);
  }

  void finish() {
    for (const Live& one : live_) KR_REQUIRE(intact(one));
    live_.clear();
    pool_->collect(true);
    pool_->trim();
    KR_REQUIRE(pool_->check_integrity());
    KR_REQUIRE(pool_->statistics().live_bytes == 0);
    KR_REQUIRE(device_->memory().live_bytes == start_bytes_);
    pool_.reset();
    KR_REQUIRE(device_->memory().live_bytes == 0);
  }

  Input& in_;
  std::shared_ptr<FakeDevice> device_ = std::make_shared<FakeDevice>();
  std::shared_ptr<Timeline> timeline_ = device_->new_timeline();
  std::optional<MemoryPool> pool_;
  std::vector<Live> live_;
  std::multimap<uint64_t, std::pair<uintptr_t, uint64_t>> deferred_;  // value: address, held bytes
  std::map<uintptr_t, uint64_t> claimed_;                             // address: held bytes
  bool tracking_ = true;
  uint64_t start_bytes_ = 0;
  uint64_t reached_ = 0;
  uint64_t steps_ = 0;
  uint64_t allocations_ = 0;
  uint64_t allocations_before_reset_ = 0;
};

}  // namespace
}  // namespace krserve::runtime

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace krserve::runtime;  // NOLINT(google-build-using-namespace)
  static const bool quiet = [] {
    krserve::set_log_level(krserve::LogLevel::kError);
    return true;
  }();
  (void)quiet;
  Input in(data, size);
  Session(in).run();
  return 0;
}
