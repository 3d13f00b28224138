// Settings as JSON: nested objects as in config/runtime.yaml, or dotted paths.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/loader.h"
#include "server/json_rpc/rpc_error.h"

namespace krserve::server::rpc {

// Sets what `values` has ({"engine": {"threads": 2}} or {"engine.threads": 2}). All or nothing:
// throws RpcError kConfig with data.problems, and `config` is as before.
void apply_values(LoadedConfig& config, const Json& values, std::string_view origin);

// Every setting below `path` (a section, a setting, or "" for all), nested; secrets left out.
// Throws RpcError kInvalidParams for a path that is neither.
OrderedJson nested_values(const LoadedConfig& config, std::string_view path);
// {"engine.threads": "default", ...} for the same settings.
OrderedJson value_origins(const LoadedConfig& config, std::string_view path);

// Paths whose values differ.
std::vector<std::string> changed_paths(const RuntimeConfig& before, const RuntimeConfig& after);

// When a change to `path` takes effect here: "next load_model" for what a model is loaded with,
// else "now" (as far as anything here looks at it: the HTTP server's settings do nothing).
std::string_view effective_when(std::string_view path);

}  // namespace krserve::server::rpc
