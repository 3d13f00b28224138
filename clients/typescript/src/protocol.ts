// What the runtime answers, with the protocol's own names: the same as in docs/json-rpc, Python and
// HTTP. Newer runtimes may send more members; they are passed on.
import { z } from "zod";

import { ProtocolError } from "./errors.js";

const count = z.int().nonnegative();
const tokenIds = z.array(z.int());

/** One loaded model. */
export const modelSchema = z.looseObject({
  /** What calls name it by. */
  name: z.string(),
  path: z.string(),
  architecture: z.string(),
  /** Tokens that one sequence may hold. */
  context_length: count,
  vocab_size: count,
  weight_bytes: count,
  kv_cache_bytes: count,
  /** Milliseconds that loading took. */
  load_ms: z.number(),
  /** "cpu", "cuda", "metal" or "fake". */
  device: z.string(),
  device_name: z.string(),
});
export type Model = z.infer<typeof modelSchema>;

/** A piece of generated text. */
export const chunkSchema = z.object({
  request: z.union([z.int(), z.string()]),
  index: count,
  text: z.string(),
  tokens: tokenIds,
});

/** A piece of generated text. */
export interface GenerateChunk {
  /** Counts the runtime's pieces from 0; of pieces that were joined, the first one's. */
  readonly index: number;
  /** Whole characters. */
  readonly text: string;
  /** Ids of the tokens behind `text`, as far as they ended in it. */
  readonly tokens: readonly number[];
}

/** Everything that a generation gave. */
export const generateResultSchema = z.looseObject({
  /** All of it, also when it was streamed. */
  text: z.string(),
  tokens: tokenIds,
  /** stop: end of text or a stop string; length: max_tokens or the context; cancelled: by a call. */
  finish_reason: z.enum(["stop", "length", "cancelled"]),
  usage: z.looseObject({
    prompt_tokens: count,
    completion_tokens: count,
    /** Prompt tokens that did not have to be computed again. */
    cached_tokens: count,
    total_tokens: count,
  }),
  /** Milliseconds, and tokens per second of decoding. */
  timings: z.looseObject({
    queue_ms: z.number(),
    prefill_ms: z.number(),
    decode_ms: z.number(),
    /** To the first token, from the request's arrival. */
    ttft_ms: z.number(),
    total_ms: z.number(),
    tokens_per_second: z.number(),
  }),
});
export type GenerateResult = z.infer<typeof generateResultSchema>;

export const loadResultSchema = z.looseObject({ model: modelSchema });
export const listResultSchema = z.looseObject({ models: z.array(modelSchema) });
export const tokenizeResultSchema = z.looseObject({ tokens: tokenIds, count });
export type TokenizeResult = z.infer<typeof tokenizeResultSchema>;
export const detokenizeResultSchema = z.looseObject({ text: z.string() });

/** State of the runtime and of each model. */
export const healthSchema = z.looseObject({
  status: z.enum(["ok", "loading", "stalled", "failed", "draining", "idle"]),
  models: z.array(z.looseObject({ name: z.string(), status: z.string(), detail: z.string() })),
  version: z.string(),
  pid: z.int(),
  /** Seconds. */
  uptime_s: z.number(),
});
export type Health = z.infer<typeof healthSchema>;

/** A metric held against the limits of docs/METAL_OPTIMIZATIONS.md. */
export const gradedMetricSchema = z.looseObject({
  /** "memory_pool", "blit_queue" or "command_ring". */
  component: z.string(),
  metric: z.string(),
  /** null: nothing has happened yet that the metric is about. */
  value: z.number().nullable(),
  /** Empty for a fraction, "1/h", "ms". */
  unit: z.string(),
  /** "no data", "on target", "acceptable", "warning" or "critical". */
  grade: z.string(),
  target: z.number(),
  warning: z.number(),
  critical: z.number(),
  higher_is_better: z.boolean(),
});
export type GradedMetric = z.infer<typeof gradedMetricSchema>;

const memoryTagSchema = z.looseObject({ bytes: count, objects: count, peak_bytes: count });

/** Memory that was asked for, in heaps made beforehand or on demand. */
const memoryPoolSchema = z.looseObject({
  enabled: z.boolean(),
  total_heaps: count,
  /** Heaps with a live allocation. */
  active_heaps: count,
  hit_rate: z.number(),
  utilization: z.number(),
  total_allocations: count,
  /** Served by a buffer made on demand. */
  fallback_allocations: count,
  largest_allocation_mb: z.number(),
  /** Bursts of fallback. */
  exhaustion_count: count,
  /** Heaps and buffers asked of the device, ever. */
  device_allocations: count,
  heap_bytes: count,
  on_demand_bytes: count,
  cached_bytes: count,
  heaps_grown: count,
  heaps_trimmed: count,
  live_bytes: count,
  live_objects: count,
  peak_bytes: count,
  largest_free_block_bytes: count,
  fragmentation: z.number(),
  allocations_per_token: z.number(),
  activation_planned_bytes: count,
  activation_naive_bytes: count,
  /** What memory is for. */
  tags: z.record(z.string(), memoryTagSchema),
});

/** Copies to and from the device. */
const blitQueueSchema = z.looseObject({
  enabled: z.boolean(),
  total_uploads: count,
  total_downloads: count,
  upload_bytes: count,
  download_bytes: count,
  avg_upload_ms: z.number(),
  avg_download_ms: z.number(),
  /** Time copies ran, in all, and the part of it while compute ran. */
  copy_ms: z.number(),
  overlapped_ms: z.number(),
  /** Time a copy ran while compute ran, of all time that copies ran. */
  overlap_ratio: z.number(),
  sync_wait_count: count,
  avg_sync_wait_ms: z.number(),
  no_copy_count: count,
  stall_count: count,
  queue_depth: count,
  peak_queue_depth: count,
  upload_gb_per_s: z.number(),
  download_gb_per_s: z.number(),
  mapped_bytes: count,
  coalesced_count: count,
  failed_count: count,
  cancelled_count: count,
  staging_bytes: count,
  /** stall_count by cause. */
  stalls: z.record(z.string(), count),
});

const gapSchema = z.looseObject({
  count,
  total_ms: z.number(),
  p50_us: z.number(),
  p99_us: z.number(),
  max_us: z.number(),
  buckets: z.array(count),
});

/** Steps on their way to the device. */
const commandRingSchema = z.looseObject({
  enabled: z.boolean(),
  ring_size: count,
  total_acquisitions: count,
  /** Acquisitions that replayed a recording; as a part of all in reuse_rate. */
  replays: count,
  reuse_rate: z.number(),
  /** Waiting for a slot beyond the device's own time, in all. */
  wait_ms: z.number(),
  avg_wait_ms: z.number(),
  max_wait_ms: z.number(),
  /** The whole wait, the device's work included. */
  avg_blocked_ms: z.number(),
  max_blocked_ms: z.number(),
  wait_events: count,
  timeouts: count,
  recordings: count,
  re_records: count,
  evictions: count,
  rebuilds: count,
  /** [n]: acquisitions that found n slots in flight. */
  occupancy: z.array(count),
  /** Device idle time between steps. */
  gap_p50_us: z.number(),
  gap_p99_us: z.number(),
  gap_count: count,
  gap_bounds_us: z.array(z.number()),
  /** By cause. */
  gaps: z.record(z.string(), gapSchema),
});

const histogramSchema = z.looseObject({
  bounds: z.array(z.number()),
  /** One more than bounds; cumulative, as Prometheus'. */
  counts: z.array(count),
  sum: z.number(),
  count,
});

const engineStatisticsSchema = z.looseObject({
  requests_running: count,
  requests_waiting: count,
  kv_cache_usage: z.number(),
  kv_pages_total: count,
  kv_pages_used: count,
  prompt_tokens_total: count,
  generation_tokens_total: count,
  preemptions_total: count,
  steps_total: count,
  discarded_tokens_total: count,
  requests_failed_total: count,
  /** By finish_reason. */
  finished_total: z.record(z.string(), count),
  time_to_first_token_s: histogramSchema,
  inter_token_latency_s: histogramSchema,
  e2e_latency_s: histogramSchema,
  queue_time_s: histogramSchema,
  prefill_time_s: histogramSchema,
  decode_time_s: histogramSchema,
  prompt_tokens: histogramSchema,
  generation_tokens: histogramSchema,
  iteration_tokens: histogramSchema,
  /** The engine's own work on a step, without waiting for the device. */
  host_step: z.looseObject({
    count,
    mean_us: z.number(),
    p50_us: z.number(),
    p99_us: z.number(),
  }),
  device_busy_ns: count,
  /** Busy time of all time since the counters were reset. */
  device_utilization: z.number(),
  since_reset_s: z.number(),
});

/** Counters of one model's engine since it was loaded or reset. Ratios and rates are 0..1. */
export const statisticsSchema = z.looseObject({
  model: z.string(),
  memory_pool: memoryPoolSchema,
  blit_queue: blitQueueSchema,
  command_buffer_ring: commandRingSchema,
  engine: engineStatisticsSchema,
  status: z.array(gradedMetricSchema),
});
export type Statistics = z.infer<typeof statisticsSchema>;

export const configResultSchema = z.looseObject({
  config: z.unknown(),
  /** Path to where its value was set: "default", "config/runtime.yaml:12", "--set". */
  origins: z.record(z.string(), z.string()),
});

/** What a change of settings did. */
export const setConfigResultSchema = z.looseObject({
  changed: z.array(z.string()),
  effective: z.record(z.string(), z.enum(["now", "next load_model"])),
});
export type SetConfigResult = z.infer<typeof setConfigResultSchema>;

export const shutdownResultSchema = z.looseObject({ drained: z.boolean() });

export const loadProgressSchema = z.looseObject({
  /** null for the model of the setting model.path. */
  request: z.union([z.int(), z.string()]).nullable(),
  model: z.string(),
  /** 0..1 */
  fraction: z.number(),
  /** What is being done, such as "weights". */
  what: z.string(),
});
export type LoadProgress = z.infer<typeof loadProgressSchema>;

/** @internal @throws {@link ProtocolError} that names the first member that does not fit. */
export function parseAnswer<T extends z.ZodType>(
  method: string,
  schema: T,
  value: unknown,
): z.infer<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join(".") || "the whole";
  throw new ProtocolError(`${method} was answered in a form unknown here: ${where}: ${issue?.message}`);
}
