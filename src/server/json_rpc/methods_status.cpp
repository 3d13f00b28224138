// health, get_statistics, shutdown.
#include <unistd.h>

#include <algorithm>

#include "server/json_rpc/methods.h"
#include "server/json_rpc/statistics_json.h"
#include "server/openai/fields.h"
#include "server/version.h"

namespace krserve::server::rpc {
namespace {

using engine::Health;

constexpr int64_t kMaxDrainTimeoutS = 3600;

// Better ones first; the session's is the worst of its models'.
constexpr std::array<std::string_view, 5> kStatuses = {"ok", "draining", "loading", "stalled",
                                                       "failed"};

std::string_view status_of(Health health) {
  switch (health) {
    case Health::kLoading:
      return "loading";
    case Health::kReady:
      return "ok";
    case Health::kDraining:
      return "draining";
    case Health::kStalled:
      return "stalled";
    case Health::kFailed:
      return "failed";
  }
  return "failed";
}

OrderedJson model_health(const Model& model) {
  if (model.state() == Model::State::kLoading) {
    return {{"name", model.name()}, {"status", "loading"}, {"detail", ""}};
  }
  try {
    const Model::Use engine = model.use();
    const Health health = engine->health();
    const bool told = health == Health::kStalled || health == Health::kFailed;
    return {{"name", model.name()},
            {"status", status_of(health)},
            {"detail", told ? engine->health_detail() : std::string()}};
  } catch (const RpcError&) {  // unloaded meanwhile
    return {{"name", model.name()}, {"status", "draining"}, {"detail", ""}};
  }
}

size_t rank(const OrderedJson& status) {
  return static_cast<size_t>(std::ranges::find(kStatuses, status.get<std::string>()) -
                             kStatuses.begin());
}

}  // namespace

void health(Session& session, const CallPtr& call) {
  OrderedJson models = OrderedJson::array();
  size_t worst = 0;
  for (const ModelPtr& model : session.models().all()) {
    models.push_back(model_health(*model));
    worst = std::max(worst, rank(models.back().at("status")));
  }
  std::string_view status = models.empty() ? "idle" : kStatuses.at(worst);
  if (session.draining()) status = "draining";
  call->result({{"status", status},
                {"models", std::move(models)},
                {"version", kVersion},
                {"pid", getpid()},
                {"uptime_s", session.uptime_s()}});
}

void get_statistics(Session& session, const CallPtr& call) {
  const Fields fields(call->params());
  const bool reset = fields.boolean("reset").value_or(false);
  const ModelPtr model = session.models().find(fields.string("model").value_or(""));
  const Model::Use engine = model->use();
  OrderedJson result = {{"model", model->name()}};
  result.update(statistics_json(engine->statistics()));
  if (reset) engine->reset_statistics();
  call->result(result);
}

void shutdown(Session& session, const CallPtr& call) {
  const auto limit_s =
      Fields(call->params()).number("drain_timeout_s", {.low = 0, .high = kMaxDrainTimeoutS});
  session.refuse_while_draining();
  const auto limit = limit_s ? std::chrono::milliseconds(static_cast<int64_t>(*limit_s * 1000))
                             : session.drain_timeout();
  session.begin_drain(limit, call);
}

}  // namespace krserve::server::rpc
