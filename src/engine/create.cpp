// Engine::create: from a model directory and a configuration to a running engine.
#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/log.h"
#include "base/signposts.h"
#include "base/units.h"
#include "engine/engine_impl.h"
#include "engine/open_device.h"
#include "model/formats/model_name.h"
#include "text/text_error.h"

namespace krserve::engine {
namespace {

// Context without engine.ctx_size: enough for a chat, small enough for any machine.
constexpr uint32_t kDefaultContext = 4096;
// Without engine.kv_cache_mb the cache holds this many full contexts, or `parallel` if that is
// less.
constexpr uint32_t kDefaultFullContexts = 4;
// Segment size of the KV cache when there is no pool heap to fit.
constexpr uint64_t kDirectSegmentBytes = 256 * kMiB;

ops::FloatType kv_type(const std::string& name) {
  if (name == "f32") return ops::FloatType::kF32;
  if (name == "bf16") return ops::FloatType::kBF16;
  return ops::FloatType::kF16;
}

uint32_t context_length(const EngineConfig& engine, const ModelConfig& model) {
  const uint32_t most = model.max_position_embeddings;
  if (engine.ctx_size == 0) return std::min(most, kDefaultContext);
  if (engine.ctx_size > most) {
    throw_error<ConfigError>("engine.create",
                             "engine.ctx_size = {}; the model's max_position_embeddings is {}",
                             engine.ctx_size, most);
  }
  return static_cast<uint32_t>(engine.ctx_size);
}

KvCacheOptions kv_options(const RuntimeConfig& config, const ModelConfig& model, uint32_t context,
                          bool pool) {
  KvCacheOptions options;
  options.page_tokens = static_cast<uint32_t>(config.engine.kv_page_tokens);
  options.type = kv_type(config.engine.kv_type);
  options.max_segment_bytes =
      pool ? static_cast<uint64_t>(config.metal_optimizations.memory_pool.heap_size_mb) * kMiB
           : kDirectSegmentBytes;
  if (config.engine.kv_cache_mb > 0) {
    options.total_tokens = static_cast<uint64_t>(config.engine.kv_cache_mb) * kMiB /
                           kv_bytes_per_token(model, options.type);
  } else {
    const auto contexts =
        std::min<uint64_t>(static_cast<uint64_t>(config.engine.parallel), kDefaultFullContexts);
    options.total_tokens = contexts * context;
  }
  return options;
}

void load_text(EngineParts& parts, const std::filesystem::path& model_dir) {
  try {
    parts.tokenizer = Tokenizer::load(model_dir);
  } catch (const NoTokenizerError& error) {
    parts.tokenizer_error = error.what();
    parts.chat_template_error = error.what();
    return;
  }
  try {
    parts.chat_template = ChatTemplate::load(model_dir);
  } catch (const MissingTemplateError& error) {
    parts.chat_template_error = error.what();
  }
}

void check_vocabulary(const EngineParts& parts, const ModelConfig& model) {
  if (!parts.tokenizer || parts.tokenizer->vocab_size() <= model.vocab_size) return;
  throw_error<ModelError>("engine.create",
                          "tokenizer.json has {} tokens, the embeddings have {} rows; the files "
                          "belong to different models",
                          parts.tokenizer->vocab_size(), model.vocab_size);
}

// With an own recorder, which keeps nothing, where there is none.
std::shared_ptr<runtime::TraceRecorder> with_signposts(
    std::shared_ptr<runtime::TraceRecorder> trace, const LoggingConfig& logging) {
  auto signposts = logging.signposts ? system_signposts() : nullptr;
  if (!signposts || (trace && trace->has_signposts())) return trace;
  if (!trace) trace = std::make_shared<runtime::TraceRecorder>(0);
  trace->set_signposts(std::move(signposts));
  return trace;
}

std::string shown_name(const RuntimeConfig& config, const std::filesystem::path& model_dir) {
  return config.server.model_name.empty() ? model_name(model_dir) : config.server.model_name;
}

ModelInfo describe(const RuntimeConfig& config, const std::filesystem::path& model_dir,
                   const ModelConfig& model, const DeviceWeights& weights, const KvCache& cache,
                   uint32_t context) {
  ModelInfo info;
  info.name = shown_name(config, model_dir);
  info.architecture = to_string(model.architecture);
  info.context_length = context;
  info.vocab_size = model.vocab_size;
  info.weight_bytes = weights.bytes();
  info.bytes_per_token = weights.bytes_per_token();
  info.kv_bytes_per_token = kv_bytes_per_token(model, cache.layout().type);
  info.kv_cache_bytes = cache.bytes();
  info.load_bytes = weights.load_report().bytes;
  info.load_ns = weights.load_report().elapsed_ns;
  info.created_unix_s = std::chrono::duration_cast<std::chrono::seconds>(
                            std::chrono::system_clock::now().time_since_epoch())
                            .count();
  return info;
}

}  // namespace

std::unique_ptr<Engine> Engine::create(const RuntimeConfig& config,
                                       const std::filesystem::path& model_dir,
                                       const Progress& progress, std::shared_ptr<Device> device,
                                       std::shared_ptr<runtime::TraceRecorder> trace) {
  const auto report = [&](double fraction, const char* what) {
    if (progress) progress(fraction, what);
  };
  auto parts = std::make_unique<EngineParts>();
  parts->config = config.engine;
  report(0, "reading the model's configuration");
  const ModelConfig model = read_model_config(model_dir);
  load_text(*parts, model_dir);
  check_vocabulary(*parts, model);
  auto checkpoint = std::make_shared<const Checkpoint>(model_dir);

  if (!device) device = open_device(config);
  // Weights that the device reads where they are mapped count against the limit too.
  const bool stream = config.engine.weight_loading == "stream";
  const bool mapped = device->info().unified_memory && !stream;
  const runtime::MemoryLimit limit{static_cast<uint64_t>(config.memory.limit_mb) * kMiB,
                                   mapped ? checkpoint->bytes() : 0};
  parts->components = make_components(device, config.metal_optimizations, limit,
                                      with_signposts(std::move(trace), config.logging));
  Components& c = parts->components;

  uint32_t context = context_length(config.engine, model);
  const KvCacheOptions kv = kv_options(config, model, context, c.pool);
  parts->cache = std::make_unique<KvCache>(model, kv, *c.allocator);
  context = std::min<uint32_t>(context, parts->cache->total_pages() * kv.page_tokens);

  auto weights = std::make_shared<const DeviceWeights>(
      device, *c.allocator, *c.transfers, checkpoint, model, context,
      [&](double fraction) { report(fraction, "loading weights"); },
      WeightLoading{.stream = stream});
  const LoadReport& loaded = weights->load_report();
  log().info("[engine.load] {} {} in {:.0f} ms, {:.1f} GB/s", format_bytes(loaded.bytes),
             weights->mapped() ? "read where they are mapped" : "copied to the device",
             static_cast<double>(loaded.elapsed_ns) / 1e6, loaded.gb_per_s());
  parts->info = describe(config, model_dir, model, *weights, *parts->cache, context);
  parts->info.device = device->info().backend;
  parts->info.device_name = device->info().name;
  parts->decoder = std::make_unique<Decoder>(model, weights, parts->cache->layout());

  const auto slots = static_cast<uint32_t>(config.engine.parallel);
  const auto chunk = static_cast<uint32_t>(config.engine.prefill_chunk_tokens);
  parts->scheduler = std::make_unique<Scheduler>(SchedulerOptions{slots, chunk}, *parts->cache);
  StepRunnerOptions runner;
  runner.slots = slots;
  runner.max_rows = slots + chunk;
  runner.max_pages = uint64_t{slots} * (parts->cache->pages_for(context) + 1);
  parts->runner =
      std::make_unique<StepRunner>(c, *parts->decoder, parts->cache->segments(), runner);
  for (const uint32_t id : model.eos_token_ids) parts->eos.insert(static_cast<int32_t>(id));
  if (parts->eos.empty() && parts->tokenizer && parts->tokenizer->eos_id()) {
    parts->eos.insert(*parts->tokenizer->eos_id());
  }
  log().info(
      "[engine.create] {}: {} weights on {}, context {} tokens, KV cache {}; pool {}, blit "
      "queue {}, command ring {}",
      parts->info.name, format_bytes(parts->info.weight_bytes), device->info().name, context,
      format_bytes(parts->cache->bytes()), c.pool ? "on" : "off", c.blit ? "on" : "off",
      c.ring ? "on" : "off");
  const runtime::StaticPlan& plan = parts->runner->largest_plan();
  if (plan.naive_bytes > 0) {
    log().info(
        "[engine.create] static plan: {} activations of a step of {} rows in {}; one by one they "
        "would take {}",
        plan.tensors.size(), runner.max_rows, format_bytes(plan.planned_bytes),
        format_bytes(plan.naive_bytes));
  }
  return std::make_unique<EngineImpl>(std::move(parts));
}

}  // namespace krserve::engine
