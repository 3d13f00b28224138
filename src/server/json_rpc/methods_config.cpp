// get_config, set_config.
#include "base/log.h"
#include "config/checks.h"
#include "server/json_rpc/config_values.h"
#include "server/json_rpc/methods.h"
#include "server/openai/fields.h"

namespace krserve::server::rpc {

void get_config(Session& session, const CallPtr& call) {
  const std::string path = Fields(call->params()).string("path").value_or("");
  call->result({{"config", nested_values(session.config(), path)},
                {"origins", value_origins(session.config(), path)}});
}

void set_config(Session& session, const CallPtr& call) {
  const Fields fields(call->params());
  fields.require("values");
  LoadedConfig& config = session.config();
  const RuntimeConfig before = config.values;
  apply_values(config, *fields.object("values"), "set_config");
  set_log_level(parse_log_level(config.values.logging.level));
  for (const std::string& warning : config_warnings(config.values)) log().warn("{}", warning);
  const std::vector<std::string> changed = changed_paths(before, config.values);
  OrderedJson effective = OrderedJson::object();
  for (const std::string& path : changed) effective[path] = effective_when(path);
  call->result({{"changed", changed}, {"effective", std::move(effective)}});
}

}  // namespace krserve::server::rpc
