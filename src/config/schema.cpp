#include "config/schema.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

namespace krserve {
namespace {

// Path and accessor from one spelling: they cannot disagree.
#define KR_AT(member) #member, [](RuntimeConfig& config) -> auto& { return config.member; }

constexpr int64_t kMaxMb = 16 * 1024 * 1024;
constexpr int64_t kMaxTokens = 4 * 1024 * 1024;

Field flag(std::string_view path, BoolRef ref, std::string_view doc) {
  return {.path = path, .ref = ref, .choices = {}, .doc = doc};
}

Field number(std::string_view path, IntRef ref, int64_t min, int64_t max, std::string_view doc) {
  return {.path = path, .ref = ref, .min = min, .max = max, .choices = {}, .doc = doc};
}

Field number_choice(std::string_view path, IntRef ref, std::vector<std::string_view> choices,
                    std::string_view doc) {
  return {.path = path,
          .ref = ref,
          .min = INT64_MIN,
          .max = INT64_MAX,
          .choices = std::move(choices),
          .doc = doc};
}

Field text(std::string_view path, TextRef ref, std::string_view doc) {
  return {.path = path, .ref = ref, .choices = {}, .doc = doc};
}

Field choice(std::string_view path, TextRef ref, std::vector<std::string_view> choices,
             std::string_view doc) {
  return {.path = path, .ref = ref, .choices = std::move(choices), .doc = doc};
}

Field list(std::string_view path, ListRef ref, int64_t min, int64_t max, std::string_view doc) {
  return {.path = path, .ref = ref, .min = min, .max = max, .choices = {}, .doc = doc};
}

Field hidden(Field field) {
  field.secret = true;
  return field;
}

Field saying_when_low(Field field, std::string_view message) {
  field.low_message = message;
  return field;
}

const std::vector<std::string_view> kLevels = {"error", "warn", "info", "debug"};

// The docs of this section are the seed's comments.
std::vector<Field> optimization_fields() {
  return {
      flag(KR_AT(metal_optimizations.enabled), "DISABLED by default for safety"),
      flag(KR_AT(metal_optimizations.graceful_fallback), "Auto-disable on initialization errors"),
      choice(KR_AT(metal_optimizations.fallback_log_level), kLevels,
             "'error', 'warn', 'info', 'debug'"),
      flag(KR_AT(metal_optimizations.memory_pool.enabled), "Requires master enabled: true"),
      number(KR_AT(metal_optimizations.memory_pool.heap_size_mb), 1, 1048576,
             "Size of each pre-allocated heap"),
      number(KR_AT(metal_optimizations.memory_pool.num_heaps), 1, 256,
             "Total memory = heap_size_mb × num_heaps"),
      list(KR_AT(metal_optimizations.memory_pool.warmup_sizes), 1, 1048576,
           "Buffer sizes (MB) to warmup"),
      flag(KR_AT(metal_optimizations.memory_pool.track_statistics), "Enable metrics tracking"),
      flag(KR_AT(metal_optimizations.memory_pool.log_exhaustion),
           "Log warnings when pool exhausted"),
      flag(KR_AT(metal_optimizations.memory_pool.allow_growth),
           "When full, add heaps up to memory.limit_mb; empty ones go back when idle"),
      text(KR_AT(metal_optimizations.memory_pool.allocation_log),
           "File that lists every allocation, for pool_bench; '' = none"),
      flag(KR_AT(metal_optimizations.blit_queue.enabled), "Requires master enabled: true"),
      number(KR_AT(metal_optimizations.blit_queue.max_pending_ops), 1, 1024,
             "Max concurrent blit operations"),
      flag(KR_AT(metal_optimizations.blit_queue.use_shared_events), "Use MTLSharedEvent for sync"),
      number(KR_AT(metal_optimizations.blit_queue.staging_buffer_size_mb), 1, 65536,
             "Staging buffer size"),
      number(KR_AT(metal_optimizations.blit_queue.background_mb_per_s), 0, 1048576,
             "KV and weight copies while steps run, MB/s; 0 = by device"),
      flag(KR_AT(metal_optimizations.blit_queue.track_metrics), "Track performance metrics"),
      flag(KR_AT(metal_optimizations.blit_queue.verbose_logging), "Debug logging (perf impact)"),
      flag(KR_AT(metal_optimizations.command_buffer_ring.enabled), "Requires master enabled: true"),
      saying_when_low(number(KR_AT(metal_optimizations.command_buffer_ring.ring_size), 2, 8,
                             "2=double buffer, 3=triple buffer"),
                      "CommandBufferRing: Invalid ring_size (must be >= 2)"),
      number(KR_AT(metal_optimizations.command_buffer_ring.timeout_ms), 0, 3600000,
             "Acquisition timeout (0=infinite)"),
      flag(KR_AT(metal_optimizations.command_buffer_ring.log_wait_events),
           "Log buffer wait events (debug)"),
      flag(KR_AT(metal_optimizations.command_buffer_ring.track_statistics),
           "Track reuse statistics"),
      number(KR_AT(metal_optimizations.command_buffer_ring.max_recordings), 1, 1024,
             "Recorded steps kept per slot; the least recently used goes first"),
  };
}

std::vector<Field> server_fields() {
  return {
      text(KR_AT(server.host), "Address to listen on; 0.0.0.0 is every interface"),
      number(KR_AT(server.port), 0, 65535, "TCP port; 0 takes any free one"),
      hidden(text(KR_AT(server.api_key), "Bearer token that clients must send; '' asks for none")),
      number(KR_AT(server.max_body_mb), 1, 1024, "Larger request bodies get 413"),
      number(KR_AT(server.max_connections), 1, 65536, "Connections open at once"),
      number(KR_AT(server.keep_alive_s), 0, 3600,
             "A silent stream gets an SSE comment this often; 0 = never"),
      number(KR_AT(server.request_timeout_s), 0, 86400,
             "A request that runs longer is ended; 0 = no limit"),
      number(KR_AT(server.drain_timeout_s), 0, 3600,
             "On SIGTERM, time that running requests get to finish"),
      text(KR_AT(server.model_name),
           "Name in /v1/models; '' = that of the model's folder or its id"),
      number(KR_AT(rpc.max_frame_mb), 1, 1024,
             "Longer lines from the client are skipped and refused"),
      text(KR_AT(model.path), "Model folder, tiny, or a Hugging Face id (owner/name[@revision])"),
  };
}

std::vector<Field> engine_fields() {
  return {
      choice(KR_AT(engine.device), {"auto", "cpu", "cuda", "metal"},
             "Back end; auto = a GPU when there is one"),
      number(KR_AT(engine.threads), 0, 1024, "Threads of the CPU device; 0 = all cores"),
      choice(KR_AT(engine.weight_loading), {"auto", "stream"},
             "auto = mapped where possible; stream = copied in"),
      number(KR_AT(engine.ctx_size), 0, kMaxTokens,
             "Tokens a sequence may hold; 0 = the model's maximum, at most 4096"),
      number(KR_AT(engine.parallel), 1, 1024, "Sequences stepped together"),
      number(KR_AT(engine.max_queued), 1, 65536, "Requests that may wait; more get 429"),
      number(KR_AT(engine.prefill_chunk_tokens), 1, 65536,
             "Prompt tokens per step; fewer keep other streams smoother"),
      number_choice(KR_AT(engine.kv_page_tokens), {"8", "16", "32", "64"},
                    "Tokens per page of the KV cache"),
      number(KR_AT(engine.kv_cache_mb), 0, kMaxMb,
             "0 = enough for ctx_size × the lesser of parallel and 4"),
      choice(KR_AT(engine.kv_type), {"f16", "bf16", "f32"}, "Number format of the KV cache"),
      number(KR_AT(engine.default_max_tokens), 0, kMaxTokens,
             "When a request names none; 0 = rest of the context"),
      number(KR_AT(engine.health_stall_s), 1, 3600,
             "/health says 503 when work waits and nothing moves for so long"),
  };
}

std::vector<Field> metal_fields() {
  return {
      choice(KR_AT(metal_device.path), {"auto", "metal3", "metal4"},
             "auto = Metal 4 where the system has it"),
      text(KR_AT(metal_device.library),
           "Kernels compiled beforehand (.metallib); '' compiles their text"),
      number(KR_AT(metal_device.command_buffer_budget_ms), 1, 5000,
             "GPU time of one command buffer; longer ones are cut"),
      number(KR_AT(metal_device.keep_resident_s), 0, 86400,
             "After the last step, memory is kept wired so long"),
      text(KR_AT(metal_device.capture_file),
           "Writes a GPU trace (.gputrace) there; needs MTL_CAPTURE_ENABLED=1"),
      number(KR_AT(metal_device.capture_skip), 0, 1000000,
             "Command buffers before the captured ones"),
      number(KR_AT(metal_device.capture_count), 1, 1000, "Command buffers that are captured"),
  };
}

std::vector<Field> process_fields() {
  return {
      number(KR_AT(memory.limit_mb), 0, kMaxMb,
             "Budget for weights, KV cache, scratch and staging together; 0 = none"),
      choice(KR_AT(logging.level), kLevels, "Least severe level that is logged"),
      flag(KR_AT(logging.signposts), "Intervals for Instruments while it records (macOS)"),
  };
}

#undef KR_AT

std::vector<Field> all_fields() {
  std::vector<Field> fields = optimization_fields();
  for (auto* part : {&server_fields, &engine_fields, &metal_fields, &process_fields}) {
    std::vector<Field> more = part();
    fields.insert(fields.end(), more.begin(), more.end());
  }
  return fields;
}

constexpr Section kSections[] = {
    {"metal_optimizations",
     "GPU execution layer (every back end has it, CPU included): a master switch and three parts",
     false},
    {"metal_optimizations.memory_pool", "Pre-allocated heaps for zero-allocation inference", false},
    {"metal_optimizations.blit_queue", "Asynchronous copies overlapped with compute", false},
    {"metal_optimizations.command_buffer_ring", "Double/triple buffering of steps", false},
    {"server", "HTTP server"},
    {"rpc", "JSON-RPC over stdio (krserve rpc)"},
    {"model", "What is served"},
    {"engine", "Scheduling, KV cache and device"},
    {"metal_device", "Macs only: how Metal is used"},
    {"memory", "Hard limits"},
    {"logging", "Log lines on stderr"},
};

}  // namespace

std::span<const Field> config_fields() {
  static const std::vector<Field> fields = all_fields();
  return fields;
}

std::span<const Section> config_sections() {
  return kSections;
}

const Field* find_field(std::string_view path) {
  const auto fields = config_fields();
  const auto it = std::ranges::find(fields, path, &Field::path);
  return it == fields.end() ? nullptr : &*it;
}

const Section* find_section(std::string_view path) {
  const auto it = std::ranges::find(kSections, path, &Section::path);
  return it == std::end(kSections) ? nullptr : it;
}

std::string_view parent_path(std::string_view path) {
  const auto dot = path.rfind('.');
  return dot == std::string_view::npos ? std::string_view{} : path.substr(0, dot);
}

std::string_view leaf_name(std::string_view path) {
  const auto dot = path.rfind('.');
  return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

std::vector<std::string_view> keys_of(std::string_view section) {
  std::vector<std::string_view> keys;
  for (const Field& field : config_fields()) {
    if (parent_path(field.path) == section) keys.push_back(leaf_name(field.path));
  }
  for (const Section& child : kSections) {
    if (parent_path(child.path) == section) keys.push_back(leaf_name(child.path));
  }
  return keys;
}

std::string environment_name(std::string_view path) {
  std::string name = "KRSERVE_";
  for (const char c : path) {
    name += c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

std::string expected_value(const Field& field) {
  if (!field.choices.empty()) return fmt::format("one of {}", fmt::join(field.choices, ", "));
  if (std::holds_alternative<BoolRef>(field.ref)) return "true or false";
  if (std::holds_alternative<IntRef>(field.ref)) {
    return fmt::format("an integer in {}..{}", field.min, field.max);
  }
  if (std::holds_alternative<ListRef>(field.ref)) {
    return fmt::format("a list of integers in {}..{}", field.min, field.max);
  }
  return "one line of text";
}

}  // namespace krserve
