#include "server/openai/common_options.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "server/openai/fields.h"

namespace krserve::server {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMaxChoices = 8;
constexpr size_t kMaxStopStrings = 16;
constexpr size_t kMaxStopBytes = 1024;
constexpr size_t kMaxStopTokens = 64;

constexpr std::array<std::string_view, 18> kSupported = {"model",
                                                         "n",
                                                         "stream",
                                                         "stream_options",
                                                         "temperature",
                                                         "top_p",
                                                         "top_k",
                                                         "min_p",
                                                         "repetition_penalty",
                                                         "presence_penalty",
                                                         "frequency_penalty",
                                                         "seed",
                                                         "stop",
                                                         "stop_token_ids",
                                                         "ignore_eos",
                                                         "max_tokens",
                                                         "logit_bias",
                                                         "logprobs"};

// They say nothing about the output.
constexpr std::array<std::string_view, 8> kIgnored = {"user",
                                                      "metadata",
                                                      "store",
                                                      "service_tier",
                                                      "safety_identifier",
                                                      "prompt_cache_key",
                                                      "prompt_cache_retention",
                                                      "parallel_tool_calls"};

template <class Range>
bool contains(const Range& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

void refuse_unknown_fields(const Json& body, std::span<const std::string_view> own_fields) {
  for (const auto& [name, value] : body.items()) {
    const bool known = contains(kSupported, name) || contains(kIgnored, name) ||
                       contains(own_fields, name) || value.is_null();
    if (known) continue;
    throw ApiError(400, fmt::format("Unrecognized request argument supplied: '{}'.", name), name,
                   "unknown_parameter");
  }
}

void refuse_unsupported_values(const Fields& fields) {
  const Json* logprobs = fields.get("logprobs");
  if (logprobs != nullptr && *logprobs != Json(false)) {
    throw unsupported("logprobs", "this server does not return log probabilities; leave it out.");
  }
}

// Decimal, without sign or leading zeros, so that two keys are never the same token.
int32_t bias_token(const std::string& key) {
  int32_t token = 0;
  const char* end = key.data() + key.size();
  const auto [stopped, error] = std::from_chars(key.data(), end, token);
  const bool canonical = key == "0" || (!key.empty() && key[0] >= '1' && key[0] <= '9');
  if (error == std::errc() && stopped == end && canonical) return token;
  throw invalid_value("logit_bias",
                      fmt::format("{} is not a token id; keys are decimal numbers from 0 to {}, "
                                  "without leading zeros.",
                                  shown(key), INT32_MAX));
}

std::vector<engine::LogitBias> parse_logit_bias(const Fields& fields) {
  const Json* value = fields.object("logit_bias");
  if (value == nullptr) return {};
  if (value->size() > engine::kMaxLogitBiases) {
    throw invalid_value("logit_bias", fmt::format("{} entries are more than {}.", value->size(),
                                                  engine::kMaxLogitBiases));
  }
  const Fields members(*value, "logit_bias.");
  std::vector<engine::LogitBias> biases;
  for (const auto& [key, bias] : value->items()) {
    const int32_t token = bias_token(key);
    if (!bias.is_number()) throw wrong_type(members.path_of(key), "a number", bias);
    const auto given = members.number(key, {.low = -100, .high = 100});
    biases.push_back({token, static_cast<float>(*given)});
  }
  return biases;
}

engine::SamplingParams parse_sampling(const Fields& fields) {
  engine::SamplingParams sampling;
  const auto read = [&](std::string_view name, const NumberRange& range, float& target) {
    if (const auto value = fields.number(name, range)) target = static_cast<float>(*value);
  };
  read("temperature", {.low = 0, .high = 2}, sampling.temperature);
  read("top_p", {.low = 0, .high = 1, .low_open = true}, sampling.top_p);
  read("min_p", {.low = 0, .high = 1, .high_open = true}, sampling.min_p);
  read("repetition_penalty", {.low = 0, .high = 2, .low_open = true}, sampling.repetition_penalty);
  read("presence_penalty", {.low = -2, .high = 2}, sampling.presence_penalty);
  read("frequency_penalty", {.low = -2, .high = 2}, sampling.frequency_penalty);
  // Others write "off" as -1 as well.
  const int64_t top_k = fields.integer("top_k", -1, INT32_MAX).value_or(0);
  sampling.top_k = static_cast<uint32_t>(std::max<int64_t>(top_k, 0));
  if (const auto seed = fields.integer("seed", INT64_MIN, INT64_MAX)) {
    sampling.seed = static_cast<uint64_t>(*seed);
  }
  sampling.logit_bias = parse_logit_bias(fields);
  return sampling;
}

std::string stop_string(const Json& value, const std::string& param) {
  if (!value.is_string()) throw wrong_type(param, "a string", value);
  auto text = value.get<std::string>();
  if (text.empty()) throw invalid_value(param, "a stop string must not be empty.");
  if (text.size() > kMaxStopBytes) {
    throw invalid_value(param, fmt::format("a stop string of {} bytes is longer than {}.",
                                           text.size(), kMaxStopBytes));
  }
  return text;
}

std::vector<std::string> parse_stop(const Fields& fields) {
  const Json* value = fields.get("stop");
  if (value == nullptr) return {};
  if (value->is_string()) return {stop_string(*value, "stop")};
  if (!value->is_array()) throw wrong_type("stop", "a string or an array of strings", *value);
  if (value->size() > kMaxStopStrings) {
    throw invalid_value(
        "stop", fmt::format("{} stop strings are more than {}.", value->size(), kMaxStopStrings));
  }
  std::vector<std::string> stop;
  for (size_t i = 0; i < value->size(); ++i) {
    stop.push_back(stop_string((*value)[i], fmt::format("stop[{}]", i)));
  }
  return stop;
}

std::vector<int32_t> parse_stop_tokens(const Fields& fields) {
  const Json* value = fields.array("stop_token_ids");
  if (value == nullptr) return {};
  if (value->size() > kMaxStopTokens) {
    throw invalid_value("stop_token_ids", fmt::format("{} token ids are more than {}.",
                                                      value->size(), kMaxStopTokens));
  }
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < value->size(); ++i) {
    const Json& id = (*value)[i];
    const std::string param = fmt::format("stop_token_ids[{}]", i);
    if (!id.is_number_integer()) throw wrong_type(param, "an integer", id);
    const bool in_range = id >= 0 && id <= INT32_MAX;
    if (!in_range) throw invalid_value(param, fmt::format("{} is not a token id.", id.dump()));
    tokens.push_back(id.get<int32_t>());
  }
  return tokens;
}

void parse_stream(const Fields& fields, CommonOptions& options) {
  options.stream = fields.boolean("stream").value_or(false);
  const Json* value = fields.object("stream_options");
  if (value == nullptr) return;
  if (!options.stream) {
    throw invalid_value("stream_options", "only allowed when 'stream' is true.");
  }
  for (const auto& [name, member] : value->items()) {
    if (name == "include_usage" || name == "include_obfuscation" || member.is_null()) continue;
    throw ApiError(400, fmt::format("Unrecognized member of 'stream_options': '{}'.", name),
                   "stream_options." + name, "unknown_parameter");
  }
  const Fields members(*value, "stream_options.");
  options.include_usage = members.boolean("include_usage").value_or(false);
  if (members.boolean("include_obfuscation").value_or(false)) {
    throw unsupported("stream_options.include_obfuscation", "this server does not obfuscate.");
  }
}

}  // namespace

CommonOptions parse_common_options(const Json& body, std::span<const std::string_view> own_fields) {
  refuse_unknown_fields(body, own_fields);
  const Fields fields(body);
  refuse_unsupported_values(fields);
  CommonOptions options;
  options.model = fields.string("model").value_or("");
  options.choices = static_cast<uint32_t>(fields.integer("n", 1, kMaxChoices).value_or(1));
  options.sequence.sampling = parse_sampling(fields);
  options.sequence.stop = parse_stop(fields);
  options.sequence.stop_token_ids = parse_stop_tokens(fields);
  options.sequence.ignore_eos = fields.boolean("ignore_eos").value_or(false);
  options.sequence.max_tokens =
      static_cast<uint32_t>(fields.integer("max_tokens", 1, INT32_MAX).value_or(0));
  parse_stream(fields, options);
  return options;
}

uint64_t choice_seed(uint64_t seed, uint32_t index) {
  if (index == 0) return seed;
  // splitmix64 (Steele, Lea, Flood 2014): neighbouring seeds give unrelated values.
  uint64_t z = seed + index * 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

}  // namespace krserve::server
