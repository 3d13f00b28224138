#include "engine/request.h"

#include <algorithm>

#include "base/error.h"

namespace krserve::engine {
namespace {

// Written so that NaN fails.
void require(bool ok, const char* field, double value, const char* range) {
  if (ok) return;
  throw_error<RequestError>("request.sampling", "{} = {}; must be {}", field, value, range);
}

void check_biases(const std::vector<LogitBias>& biases) {
  if (biases.size() > kMaxLogitBiases) {
    throw_error<RequestError>("request.sampling", "logit_bias has {} entries; at most {} may be",
                              biases.size(), kMaxLogitBiases);
  }
  std::vector<int32_t> tokens;
  for (const LogitBias& entry : biases) {
    tokens.push_back(entry.token);
    if (entry.bias >= -100 && entry.bias <= 100) continue;
    throw_error<RequestError>("request.sampling",
                              "logit_bias of token {} = {}; must be in [-100, 100]", entry.token,
                              entry.bias);
  }
  std::sort(tokens.begin(), tokens.end());
  const auto twice = std::adjacent_find(tokens.begin(), tokens.end());
  if (twice == tokens.end()) return;
  throw_error<RequestError>("request.sampling", "logit_bias names token {} twice", *twice);
}

}  // namespace

void SamplingParams::validate() const {
  require(temperature >= 0 && temperature <= 2, "temperature", temperature, "in [0, 2]");
  require(top_p > 0 && top_p <= 1, "top_p", top_p, "in (0, 1]");
  require(min_p >= 0 && min_p < 1, "min_p", min_p, "in [0, 1)");
  require(repetition_penalty > 0 && repetition_penalty <= 2, "repetition_penalty",
          repetition_penalty, "in (0, 2]");
  require(presence_penalty >= -2 && presence_penalty <= 2, "presence_penalty", presence_penalty,
          "in [-2, 2]");
  require(frequency_penalty >= -2 && frequency_penalty <= 2, "frequency_penalty", frequency_penalty,
          "in [-2, 2]");
  check_biases(logit_bias);
}

const char* to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
  }
  return "error";
}

}  // namespace krserve::engine
