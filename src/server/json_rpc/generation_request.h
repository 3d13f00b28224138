// The parameters of generate and tokenize, turned into token ids and sampling values.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/engine.h"
#include "server/json_rpc/rpc_error.h"

namespace krserve::server::rpc {

struct GenerationRequest {
  engine::Request request;
  bool stream = true;
};

// `params` as generate gets them. Throws ApiError 400 and RpcError kInvalidParams that name the
// field. Takes time that is linear in the prompt; reads the engine's model alone.
GenerationRequest plan_generation(const engine::Engine& engine, const Json& params);

// `params` as tokenize gets them; throws the same.
std::vector<int32_t> plan_tokens(const engine::Engine& engine, const Json& params);

}  // namespace krserve::server::rpc
