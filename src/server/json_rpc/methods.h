// The methods a client may call: names, parameters, and what runs them.
#pragma once

#include <span>
#include <string_view>

#include "server/json_rpc/session.h"

namespace krserve::server::rpc {

struct Method {
  std::string_view name;
  std::span<const std::string_view> params;
  // Answers the call, at once or later; or throws what becomes the error.
  void (*run)(Session& session, const CallPtr& call);
};

std::span<const Method> methods();

// Finds the call's method, checks the names of its parameters and runs it. Throws RpcError
// kMethodNotFound, kInvalidParams and what the method throws.
void run_method(Session& session, const CallPtr& call);

// In methods_*.cpp.
void load_model(Session& session, const CallPtr& call);
void unload_model(Session& session, const CallPtr& call);
void list_models(Session& session, const CallPtr& call);
void generate(Session& session, const CallPtr& call);
void cancel(Session& session, const CallPtr& call);
void tokenize(Session& session, const CallPtr& call);
void detokenize(Session& session, const CallPtr& call);
void get_statistics(Session& session, const CallPtr& call);
void get_config(Session& session, const CallPtr& call);
void set_config(Session& session, const CallPtr& call);
void health(Session& session, const CallPtr& call);
void shutdown(Session& session, const CallPtr& call);

}  // namespace krserve::server::rpc
