// Generated from config/schema.json, the table of settings in src/config/schema.cpp; `npm run
// generate` writes it anew.
import { z } from "zod";

import { choice, flag, integer, integerChoice, integerList, text } from "./setting-types.js";

/** Settings as in config/runtime.yaml, any part of them. Sizes in MB are MiB. */
export const settingsSchema = z.strictObject({
  /** GPU execution layer (every back end has it, CPU included): a master switch and three parts. */
  metal_optimizations: z
    .strictObject({
      /** DISABLED by default for safety. Default: false. */
      enabled: flag().optional(),
      /** Auto-disable on initialization errors. Default: true. */
      graceful_fallback: flag().optional(),
      /** 'error', 'warn', 'info', 'debug'. Default: "warn". */
      fallback_log_level: choice("error", "warn", "info", "debug").optional(),
      /** Pre-allocated heaps for zero-allocation inference. */
      memory_pool: z
        .strictObject({
          /** Requires master enabled: true. Default: false. */
          enabled: flag().optional(),
          /** Size of each pre-allocated heap. Default: 256. */
          heap_size_mb: integer(1, 1048576).optional(),
          /** Total memory = heap_size_mb × num_heaps. Default: 4. */
          num_heaps: integer(1, 256).optional(),
          /** Buffer sizes (MB) to warmup. Default: [32, 128, 512]. */
          warmup_sizes: integerList(1, 1048576, 64).optional(),
          /** Enable metrics tracking. Default: true. */
          track_statistics: flag().optional(),
          /** Log warnings when pool exhausted. Default: true. */
          log_exhaustion: flag().optional(),
          /** When full, add heaps up to memory.limit_mb; empty ones go back when idle. Default: false. */
          allow_growth: flag().optional(),
          /** File that lists every allocation, for pool_bench; '' = none. Default: "". */
          allocation_log: text(4096).optional(),
        })
        .optional(),
      /** Asynchronous copies overlapped with compute. */
      blit_queue: z
        .strictObject({
          /** Requires master enabled: true. Default: false. */
          enabled: flag().optional(),
          /** Max concurrent blit operations. Default: 8. */
          max_pending_ops: integer(1, 1024).optional(),
          /** Use MTLSharedEvent for sync. Default: true. */
          use_shared_events: flag().optional(),
          /** Staging buffer size. Default: 64. */
          staging_buffer_size_mb: integer(1, 65536).optional(),
          /** KV and weight copies while steps run, MB/s; 0 = by device. Default: 0. */
          background_mb_per_s: integer(0, 1048576).optional(),
          /** Track performance metrics. Default: true. */
          track_metrics: flag().optional(),
          /** Debug logging (perf impact). Default: false. */
          verbose_logging: flag().optional(),
        })
        .optional(),
      /** Double/triple buffering of steps. */
      command_buffer_ring: z
        .strictObject({
          /** Requires master enabled: true. Default: false. */
          enabled: flag().optional(),
          /** 2=double buffer, 3=triple buffer. Default: 3. */
          ring_size: integer(2, 8, "CommandBufferRing: Invalid ring_size (must be >= 2)").optional(),
          /** Acquisition timeout (0=infinite). Default: 0. */
          timeout_ms: integer(0, 3600000).optional(),
          /** Log buffer wait events (debug). Default: false. */
          log_wait_events: flag().optional(),
          /** Track reuse statistics. Default: true. */
          track_statistics: flag().optional(),
          /** Recorded steps kept per slot; the least recently used goes first. Default: 16. */
          max_recordings: integer(1, 1024).optional(),
        })
        .optional(),
    })
    .optional(),
  /** HTTP server. */
  server: z
    .strictObject({
      /** Address to listen on; 0.0.0.0 is every interface. Default: "127.0.0.1". */
      host: text(4096).optional(),
      /** TCP port; 0 takes any free one. Default: 8080. */
      port: integer(0, 65535).optional(),
      /** Bearer token that clients must send; '' asks for none. Default: "". */
      api_key: text(4096).optional(),
      /** Larger request bodies get 413. Default: 8. */
      max_body_mb: integer(1, 1024).optional(),
      /** Connections open at once. Default: 256. */
      max_connections: integer(1, 65536).optional(),
      /** A silent stream gets an SSE comment this often; 0 = never. Default: 10. */
      keep_alive_s: integer(0, 3600).optional(),
      /** A request that runs longer is ended; 0 = no limit. Default: 0. */
      request_timeout_s: integer(0, 86400).optional(),
      /** On SIGTERM, time that running requests get to finish. Default: 30. */
      drain_timeout_s: integer(0, 3600).optional(),
      /** Name in /v1/models; '' = that of the model's folder or its id. Default: "". */
      model_name: text(4096).optional(),
    })
    .optional(),
  /** JSON-RPC over stdio (krserve rpc). */
  rpc: z
    .strictObject({
      /** Longer lines from the client are skipped and refused. Default: 16. */
      max_frame_mb: integer(1, 1024).optional(),
    })
    .optional(),
  /** What is served. */
  model: z
    .strictObject({
      /** Model folder, tiny, or a Hugging Face id (owner/name[@revision]). Default: "". */
      path: text(4096).optional(),
    })
    .optional(),
  /** Scheduling, KV cache and device. */
  engine: z
    .strictObject({
      /** Back end; auto = a GPU when there is one. Default: "cpu". */
      device: choice("auto", "cpu", "cuda", "metal").optional(),
      /** Threads of the CPU device; 0 = all cores. Default: 0. */
      threads: integer(0, 1024).optional(),
      /** auto = mapped where possible; stream = copied in. Default: "auto". */
      weight_loading: choice("auto", "stream").optional(),
      /** Tokens a sequence may hold; 0 = the model's maximum, at most 4096. Default: 0. */
      ctx_size: integer(0, 4194304).optional(),
      /** Sequences stepped together. Default: 8. */
      parallel: integer(1, 1024).optional(),
      /** Requests that may wait; more get 429. Default: 256. */
      max_queued: integer(1, 65536).optional(),
      /** Prompt tokens per step; fewer keep other streams smoother. Default: 256. */
      prefill_chunk_tokens: integer(1, 65536).optional(),
      /** Tokens per page of the KV cache. Default: 16. */
      kv_page_tokens: integerChoice(8, 16, 32, 64).optional(),
      /** 0 = enough for ctx_size × the lesser of parallel and 4. Default: 0. */
      kv_cache_mb: integer(0, 16777216).optional(),
      /** Number format of the KV cache. Default: "f16". */
      kv_type: choice("f16", "bf16", "f32").optional(),
      /** When a request names none; 0 = rest of the context. Default: 0. */
      default_max_tokens: integer(0, 4194304).optional(),
      /** /health says 503 when work waits and nothing moves for so long. Default: 30. */
      health_stall_s: integer(1, 3600).optional(),
    })
    .optional(),
  /** Macs only: how Metal is used. */
  metal_device: z
    .strictObject({
      /** auto = Metal 4 where the system has it. Default: "auto". */
      path: choice("auto", "metal3", "metal4").optional(),
      /** Kernels compiled beforehand (.metallib); '' compiles their text. Default: "". */
      library: text(4096).optional(),
      /** GPU time of one command buffer; longer ones are cut. Default: 200. */
      command_buffer_budget_ms: integer(1, 5000).optional(),
      /** After the last step, memory is kept wired so long. Default: 180. */
      keep_resident_s: integer(0, 86400).optional(),
      /** Writes a GPU trace (.gputrace) there; needs MTL_CAPTURE_ENABLED=1. Default: "". */
      capture_file: text(4096).optional(),
      /** Command buffers before the captured ones. Default: 16. */
      capture_skip: integer(0, 1000000).optional(),
      /** Command buffers that are captured. Default: 4. */
      capture_count: integer(1, 1000).optional(),
    })
    .optional(),
  /** Hard limits. */
  memory: z
    .strictObject({
      /** Budget for weights, KV cache, scratch and staging together; 0 = none. Default: 0. */
      limit_mb: integer(0, 16777216).optional(),
    })
    .optional(),
  /** Log lines on stderr. */
  logging: z
    .strictObject({
      /** Least severe level that is logged. Default: "info". */
      level: choice("error", "warn", "info", "debug").optional(),
      /** Intervals for Instruments while it records (macOS). Default: true. */
      signposts: flag().optional(),
    })
    .optional(),
});

/** Every setting, in the order of config/runtime.yaml. */
export const settingFields = [
  { path: "metal_optimizations.enabled", environment: "KRSERVE_METAL_OPTIMIZATIONS_ENABLED", secret: false, default: false, doc: "DISABLED by default for safety" },
  { path: "metal_optimizations.graceful_fallback", environment: "KRSERVE_METAL_OPTIMIZATIONS_GRACEFUL_FALLBACK", secret: false, default: true, doc: "Auto-disable on initialization errors" },
  { path: "metal_optimizations.fallback_log_level", environment: "KRSERVE_METAL_OPTIMIZATIONS_FALLBACK_LOG_LEVEL", secret: false, default: "warn", doc: "'error', 'warn', 'info', 'debug'" },
  { path: "metal_optimizations.memory_pool.enabled", environment: "KRSERVE_METAL_OPTIMIZATIONS_MEMORY_POOL_ENABLED", secret: false, default: false, doc: "Requires master enabled: true" },
  { path: "metal_optimizations.memory_pool.heap_size_mb", environment: "KRSERVE_METAL_OPTIMIZATIONS_MEMORY_POOL_HEAP_SIZE_MB", secret: false, default: 256, doc: "Size of each pre-allocated heap" },
  { path: "metal_optimizations.memory_pool.num_heaps", environment: "KRSERVE_METAL_OPTIMIZATIONS_MEMORY_POOL_NUM_HEAPS", secret: false, default: 4, doc: "Total memory = heap_size_mb × num_heaps" },
  { path: "metal_optimizations.memory_pool.warmup_sizes", environment: "KRSERVE_METAL_OPTIMIZATIONS_MEMORY_POOL_WARMUP_SIZES", secret: false, default: [32, 128, 512], doc: "Buffer sizes (MB) to warmup" },
  { path: "metal_optimizations.memory_pool.track_statistics", environment: "KRSERVE_METAL_OPTIMIZATIONS_MEMORY_POOL_TRACK_STATISTICS", secret: false, default: true, doc: "Enable metrics tracking" },
  { path: "metal_optimizations.memory_pool.log_exhaustion", environment: "KRSERVE_METAL_OPTIMIZATIONS_MEMORY_POOL_LOG_EXHAUSTION", secret: false, default: true, doc: "Log warnings when pool exhausted" },
  { path: "metal_optimizations.memory_pool.allow_growth", environment: "KRSERVE_METAL_OPTIMIZATIONS_MEMORY_POOL_ALLOW_GROWTH", secret: false, default: false, doc: "When full, add heaps up to memory.limit_mb; empty ones go back when idle" },
  { path: "metal_optimizations.memory_pool.allocation_log", environment: "KRSERVE_METAL_OPTIMIZATIONS_MEMORY_POOL_ALLOCATION_LOG", secret: false, default: "", doc: "File that lists every allocation, for pool_bench; '' = none" },
  { path: "metal_optimizations.blit_queue.enabled", environment: "KRSERVE_METAL_OPTIMIZATIONS_BLIT_QUEUE_ENABLED", secret: false, default: false, doc: "Requires master enabled: true" },
  { path: "metal_optimizations.blit_queue.max_pending_ops", environment: "KRSERVE_METAL_OPTIMIZATIONS_BLIT_QUEUE_MAX_PENDING_OPS", secret: false, default: 8, doc: "Max concurrent blit operations" },
  { path: "metal_optimizations.blit_queue.use_shared_events", environment: "KRSERVE_METAL_OPTIMIZATIONS_BLIT_QUEUE_USE_SHARED_EVENTS", secret: false, default: true, doc: "Use MTLSharedEvent for sync" },
  { path: "metal_optimizations.blit_queue.staging_buffer_size_mb", environment: "KRSERVE_METAL_OPTIMIZATIONS_BLIT_QUEUE_STAGING_BUFFER_SIZE_MB", secret: false, default: 64, doc: "Staging buffer size" },
  { path: "metal_optimizations.blit_queue.background_mb_per_s", environment: "KRSERVE_METAL_OPTIMIZATIONS_BLIT_QUEUE_BACKGROUND_MB_PER_S", secret: false, default: 0, doc: "KV and weight copies while steps run, MB/s; 0 = by device" },
  { path: "metal_optimizations.blit_queue.track_metrics", environment: "KRSERVE_METAL_OPTIMIZATIONS_BLIT_QUEUE_TRACK_METRICS", secret: false, default: true, doc: "Track performance metrics" },
  { path: "metal_optimizations.blit_queue.verbose_logging", environment: "KRSERVE_METAL_OPTIMIZATIONS_BLIT_QUEUE_VERBOSE_LOGGING", secret: false, default: false, doc: "Debug logging (perf impact)" },
  { path: "metal_optimizations.command_buffer_ring.enabled", environment: "KRSERVE_METAL_OPTIMIZATIONS_COMMAND_BUFFER_RING_ENABLED", secret: false, default: false, doc: "Requires master enabled: true" },
  { path: "metal_optimizations.command_buffer_ring.ring_size", environment: "KRSERVE_METAL_OPTIMIZATIONS_COMMAND_BUFFER_RING_RING_SIZE", secret: false, default: 3, doc: "2=double buffer, 3=triple buffer" },
  { path: "metal_optimizations.command_buffer_ring.timeout_ms", environment: "KRSERVE_METAL_OPTIMIZATIONS_COMMAND_BUFFER_RING_TIMEOUT_MS", secret: false, default: 0, doc: "Acquisition timeout (0=infinite)" },
  { path: "metal_optimizations.command_buffer_ring.log_wait_events", environment: "KRSERVE_METAL_OPTIMIZATIONS_COMMAND_BUFFER_RING_LOG_WAIT_EVENTS", secret: false, default: false, doc: "Log buffer wait events (debug)" },
  { path: "metal_optimizations.command_buffer_ring.track_statistics", environment: "KRSERVE_METAL_OPTIMIZATIONS_COMMAND_BUFFER_RING_TRACK_STATISTICS", secret: false, default: true, doc: "Track reuse statistics" },
  { path: "metal_optimizations.command_buffer_ring.max_recordings", environment: "KRSERVE_METAL_OPTIMIZATIONS_COMMAND_BUFFER_RING_MAX_RECORDINGS", secret: false, default: 16, doc: "Recorded steps kept per slot; the least recently used goes first" },
  { path: "server.host", environment: "KRSERVE_SERVER_HOST", secret: false, default: "127.0.0.1", doc: "Address to listen on; 0.0.0.0 is every interface" },
  { path: "server.port", environment: "KRSERVE_SERVER_PORT", secret: false, default: 8080, doc: "TCP port; 0 takes any free one" },
  { path: "server.api_key", environment: "KRSERVE_SERVER_API_KEY", secret: true, default: "", doc: "Bearer token that clients must send; '' asks for none" },
  { path: "server.max_body_mb", environment: "KRSERVE_SERVER_MAX_BODY_MB", secret: false, default: 8, doc: "Larger request bodies get 413" },
  { path: "server.max_connections", environment: "KRSERVE_SERVER_MAX_CONNECTIONS", secret: false, default: 256, doc: "Connections open at once" },
  { path: "server.keep_alive_s", environment: "KRSERVE_SERVER_KEEP_ALIVE_S", secret: false, default: 10, doc: "A silent stream gets an SSE comment this often; 0 = never" },
  { path: "server.request_timeout_s", environment: "KRSERVE_SERVER_REQUEST_TIMEOUT_S", secret: false, default: 0, doc: "A request that runs longer is ended; 0 = no limit" },
  { path: "server.drain_timeout_s", environment: "KRSERVE_SERVER_DRAIN_TIMEOUT_S", secret: false, default: 30, doc: "On SIGTERM, time that running requests get to finish" },
  { path: "server.model_name", environment: "KRSERVE_SERVER_MODEL_NAME", secret: false, default: "", doc: "Name in /v1/models; '' = that of the model's folder or its id" },
  { path: "rpc.max_frame_mb", environment: "KRSERVE_RPC_MAX_FRAME_MB", secret: false, default: 16, doc: "Longer lines from the client are skipped and refused" },
  { path: "model.path", environment: "KRSERVE_MODEL_PATH", secret: false, default: "", doc: "Model folder, tiny, or a Hugging Face id (owner/name[@revision])" },
  { path: "engine.device", environment: "KRSERVE_ENGINE_DEVICE", secret: false, default: "cpu", doc: "Back end; auto = a GPU when there is one" },
  { path: "engine.threads", environment: "KRSERVE_ENGINE_THREADS", secret: false, default: 0, doc: "Threads of the CPU device; 0 = all cores" },
  { path: "engine.weight_loading", environment: "KRSERVE_ENGINE_WEIGHT_LOADING", secret: false, default: "auto", doc: "auto = mapped where possible; stream = copied in" },
  { path: "engine.ctx_size", environment: "KRSERVE_ENGINE_CTX_SIZE", secret: false, default: 0, doc: "Tokens a sequence may hold; 0 = the model's maximum, at most 4096" },
  { path: "engine.parallel", environment: "KRSERVE_ENGINE_PARALLEL", secret: false, default: 8, doc: "Sequences stepped together" },
  { path: "engine.max_queued", environment: "KRSERVE_ENGINE_MAX_QUEUED", secret: false, default: 256, doc: "Requests that may wait; more get 429" },
  { path: "engine.prefill_chunk_tokens", environment: "KRSERVE_ENGINE_PREFILL_CHUNK_TOKENS", secret: false, default: 256, doc: "Prompt tokens per step; fewer keep other streams smoother" },
  { path: "engine.kv_page_tokens", environment: "KRSERVE_ENGINE_KV_PAGE_TOKENS", secret: false, default: 16, doc: "Tokens per page of the KV cache" },
  { path: "engine.kv_cache_mb", environment: "KRSERVE_ENGINE_KV_CACHE_MB", secret: false, default: 0, doc: "0 = enough for ctx_size × the lesser of parallel and 4" },
  { path: "engine.kv_type", environment: "KRSERVE_ENGINE_KV_TYPE", secret: false, default: "f16", doc: "Number format of the KV cache" },
  { path: "engine.default_max_tokens", environment: "KRSERVE_ENGINE_DEFAULT_MAX_TOKENS", secret: false, default: 0, doc: "When a request names none; 0 = rest of the context" },
  { path: "engine.health_stall_s", environment: "KRSERVE_ENGINE_HEALTH_STALL_S", secret: false, default: 30, doc: "/health says 503 when work waits and nothing moves for so long" },
  { path: "metal_device.path", environment: "KRSERVE_METAL_DEVICE_PATH", secret: false, default: "auto", doc: "auto = Metal 4 where the system has it" },
  { path: "metal_device.library", environment: "KRSERVE_METAL_DEVICE_LIBRARY", secret: false, default: "", doc: "Kernels compiled beforehand (.metallib); '' compiles their text" },
  { path: "metal_device.command_buffer_budget_ms", environment: "KRSERVE_METAL_DEVICE_COMMAND_BUFFER_BUDGET_MS", secret: false, default: 200, doc: "GPU time of one command buffer; longer ones are cut" },
  { path: "metal_device.keep_resident_s", environment: "KRSERVE_METAL_DEVICE_KEEP_RESIDENT_S", secret: false, default: 180, doc: "After the last step, memory is kept wired so long" },
  { path: "metal_device.capture_file", environment: "KRSERVE_METAL_DEVICE_CAPTURE_FILE", secret: false, default: "", doc: "Writes a GPU trace (.gputrace) there; needs MTL_CAPTURE_ENABLED=1" },
  { path: "metal_device.capture_skip", environment: "KRSERVE_METAL_DEVICE_CAPTURE_SKIP", secret: false, default: 16, doc: "Command buffers before the captured ones" },
  { path: "metal_device.capture_count", environment: "KRSERVE_METAL_DEVICE_CAPTURE_COUNT", secret: false, default: 4, doc: "Command buffers that are captured" },
  { path: "memory.limit_mb", environment: "KRSERVE_MEMORY_LIMIT_MB", secret: false, default: 0, doc: "Budget for weights, KV cache, scratch and staging together; 0 = none" },
  { path: "logging.level", environment: "KRSERVE_LOGGING_LEVEL", secret: false, default: "info", doc: "Least severe level that is logged" },
  { path: "logging.signposts", environment: "KRSERVE_LOGGING_SIGNPOSTS", secret: false, default: true, doc: "Intervals for Instruments while it records (macOS)" },
] as const;
