#include "config/recommend.h"

#include <array>

namespace krserve {
namespace {

struct Row {
  uint64_t from_gib;  // machines report a little less memory than they are sold with
  std::string_view machine;
  int64_t heap_size_mb;
  int64_t num_heaps;
};

constexpr std::array<Row, 4> kTable = {{
    {60, "64 GB or more", 1024, 6},
    {30, "32 GB", 512, 4},
    {15, "16 GB", 256, 3},
    {0, "less than 16 GB", 128, 2},
}};

}  // namespace

Recommendation recommend_settings(uint64_t memory_bytes) {
  const Row* row = kTable.data();
  while (memory_bytes >> 30 < row->from_gib) ++row;
  Recommendation out{row->machine, {}};
  out.settings.enabled = true;
  out.settings.memory_pool.enabled = true;
  out.settings.memory_pool.heap_size_mb = row->heap_size_mb;
  out.settings.memory_pool.num_heaps = row->num_heaps;
  out.settings.memory_pool.warmup_sizes = {32, row->heap_size_mb / 2};
  out.settings.blit_queue.enabled = true;
  out.settings.command_buffer_ring.enabled = true;
  return out;
}

}  // namespace krserve
