// What chat and text completions have in common: sampling, stopping, streaming, refused fields.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>

#include "engine/request.h"

namespace krserve::server {

struct CommonOptions {
  std::string model;         // empty: the served one
  engine::Request sequence;  // all but the prompt
  uint32_t choices = 1;      // "n"
  bool stream = false;
  bool include_usage = false;
};

// Throws ApiError 400 for a wrong type, a value out of range, a field that is not supported yet,
// and a field that is neither among the common ones nor in `own_fields`.
CommonOptions parse_common_options(const nlohmann::json& body,
                                   std::span<const std::string_view> own_fields);

// The seed of choice `index`: the request's own for 0, else derived from it.
uint64_t choice_seed(uint64_t seed, uint32_t index);

}  // namespace krserve::server
