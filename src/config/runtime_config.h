// Every setting of krserve as plain structs; the initializers are the defaults. See schema.h for
// ranges.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace krserve {

// Sizes in MB are MiB (1,048,576 bytes) throughout.
struct MemoryPoolConfig {
  bool enabled = false;
  int64_t heap_size_mb = 256;
  int64_t num_heaps = 4;
  std::vector<int64_t> warmup_sizes = {32, 128, 512};
  bool track_statistics = true;
  bool log_exhaustion = true;
  bool allow_growth = false;
  std::string allocation_log;
};

struct BlitQueueConfig {
  bool enabled = false;
  int64_t max_pending_ops = 8;
  bool use_shared_events = true;
  int64_t staging_buffer_size_mb = 64;
  int64_t background_mb_per_s = 0;
  bool track_metrics = true;
  bool verbose_logging = false;
};

struct CommandBufferRingConfig {
  bool enabled = false;
  int64_t ring_size = 3;
  int64_t timeout_ms = 0;
  bool log_wait_events = false;
  bool track_statistics = true;
  int64_t max_recordings = 16;
};

struct MetalOptimizationsConfig {
  bool enabled = false;
  bool graceful_fallback = true;
  std::string fallback_log_level = "warn";
  MemoryPoolConfig memory_pool;
  BlitQueueConfig blit_queue;
  CommandBufferRingConfig command_buffer_ring;
};

struct ServerConfig {
  std::string host = "127.0.0.1";
  int64_t port = 8080;
  std::string api_key;
  int64_t max_body_mb = 8;
  int64_t max_connections = 256;
  int64_t keep_alive_s = 10;
  int64_t request_timeout_s = 0;
  int64_t drain_timeout_s = 30;
  std::string model_name;
};

struct RpcConfig {
  int64_t max_frame_mb = 16;
};

struct ModelSettings {
  std::string path;
};

struct EngineConfig {
  std::string device = "cpu";
  int64_t threads = 0;
  std::string weight_loading = "auto";
  int64_t ctx_size = 0;
  int64_t parallel = 8;
  int64_t max_queued = 256;
  int64_t prefill_chunk_tokens = 256;
  int64_t kv_page_tokens = 16;
  int64_t kv_cache_mb = 0;
  std::string kv_type = "f16";
  int64_t default_max_tokens = 0;
  int64_t health_stall_s = 30;
};

struct MetalConfig {
  std::string path = "auto";
  std::string library;
  int64_t command_buffer_budget_ms = 200;
  int64_t keep_resident_s = 180;
  std::string capture_file;
  int64_t capture_skip = 16;
  int64_t capture_count = 4;
};

struct MemoryConfig {
  int64_t limit_mb = 0;
};

struct LoggingConfig {
  std::string level = "info";
  bool signposts = true;
};

struct RuntimeConfig {
  MetalOptimizationsConfig metal_optimizations;
  ServerConfig server;
  RpcConfig rpc;
  ModelSettings model;
  EngineConfig engine;
  MetalConfig metal_device;
  MemoryConfig memory;
  LoggingConfig logging;
};

}  // namespace krserve
