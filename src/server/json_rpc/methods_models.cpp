// load_model, unload_model, list_models.
#include "server/json_rpc/config_values.h"
#include "server/json_rpc/methods.h"
#include "server/openai/fields.h"

namespace krserve::server::rpc {

void load_model(Session& session, const CallPtr& call) {
  const Fields fields(call->params());
  fields.require("model");
  LoadOrder order{
      .model = *fields.string("model"), .name = fields.string("name").value_or(""), .config = {}};
  if (order.model.empty()) throw invalid_value("model", "it must not be empty.");
  LoadedConfig config = session.config();
  if (const Json* values = fields.object("config")) apply_values(config, *values, "load_model");
  order.config = config.values;
  session.refuse_while_draining();
  session.load(std::move(order), call);
}

void unload_model(Session& session, const CallPtr& call) {
  const Fields fields(call->params());
  const std::string name = fields.string("model").value_or("");
  const bool force = fields.boolean("force").value_or(false);
  session.unload(session.models().find(name),
                 force ? std::chrono::milliseconds(0) : session.drain_timeout(), call);
}

void list_models(Session& session, const CallPtr& call) {
  OrderedJson models = OrderedJson::array();
  for (const ModelPtr& model : session.models().all()) {
    if (model->state() != Model::State::kReady) continue;
    models.push_back(model->describe(model->use()));
  }
  call->result({{"models", std::move(models)}});
}

}  // namespace krserve::server::rpc
