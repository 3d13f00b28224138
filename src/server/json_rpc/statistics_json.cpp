#include "server/json_rpc/statistics_json.h"

#include "engine/component_status.h"
#include "engine/request.h"
#include "runtime/statistics_json.h"

namespace krserve::server::rpc {
namespace {

#define KR_MEMBER(from, name) {#name, (from).name}

OrderedJson histogram_json(const engine::Histogram& h) {
  return {KR_MEMBER(h, bounds), KR_MEMBER(h, counts), KR_MEMBER(h, sum), KR_MEMBER(h, count)};
}

#define KR_HISTOGRAM(from, name) {#name, histogram_json((from).name)}

OrderedJson engine_json(const engine::EngineStatistics& s) {
  OrderedJson json = {KR_MEMBER(s, requests_running),
                      KR_MEMBER(s, requests_waiting),
                      KR_MEMBER(s, kv_cache_usage),
                      KR_MEMBER(s, kv_pages_total),
                      KR_MEMBER(s, kv_pages_used),
                      KR_MEMBER(s, prompt_tokens_total),
                      KR_MEMBER(s, generation_tokens_total),
                      KR_MEMBER(s, preemptions_total),
                      KR_MEMBER(s, steps_total),
                      KR_MEMBER(s, discarded_tokens_total),
                      KR_MEMBER(s, requests_failed_total),
                      KR_MEMBER(s, device_busy_ns),
                      KR_MEMBER(s, device_utilization),
                      KR_MEMBER(s, since_reset_s),
                      KR_HISTOGRAM(s, time_to_first_token_s),
                      KR_HISTOGRAM(s, inter_token_latency_s),
                      KR_HISTOGRAM(s, e2e_latency_s),
                      KR_HISTOGRAM(s, queue_time_s),
                      KR_HISTOGRAM(s, prefill_time_s),
                      KR_HISTOGRAM(s, decode_time_s),
                      KR_HISTOGRAM(s, prompt_tokens),
                      KR_HISTOGRAM(s, generation_tokens),
                      KR_HISTOGRAM(s, iteration_tokens)};
  for (uint32_t i = 0; i < s.finished_total.size(); ++i) {
    json["finished_total"][engine::to_string(static_cast<engine::FinishReason>(i))] =
        s.finished_total[i];
  }
  const engine::HostStepStatistics& host = s.host_step;
  json["host_step"] = {KR_MEMBER(host, count), KR_MEMBER(host, mean_us), KR_MEMBER(host, p50_us),
                       KR_MEMBER(host, p99_us)};
  return json;
}

#undef KR_HISTOGRAM
#undef KR_MEMBER

OrderedJson status_json(const engine::EngineStatistics& statistics) {
  OrderedJson status = OrderedJson::array();
  for (const engine::GradedMetric& m : engine::grade_components(statistics)) {
    const bool has_value = m.grade != engine::Grade::kNoData;
    status.push_back({{"component", m.component},
                      {"metric", m.metric},
                      {"value", has_value ? OrderedJson(m.value) : OrderedJson()},
                      {"unit", m.unit},
                      {"grade", engine::to_string(m.grade)},
                      {"target", m.target},
                      {"warning", m.warning},
                      {"critical", m.critical},
                      {"higher_is_better", m.higher_is_better}});
  }
  return status;
}

}  // namespace

OrderedJson statistics_json(const engine::EngineStatistics& statistics) {
  return {{"memory_pool", to_json(statistics.pool)},
          {"blit_queue", to_json(statistics.blit)},
          {"command_buffer_ring", to_json(statistics.ring)},
          {"engine", engine_json(statistics)},
          {"status", status_json(statistics)}};
}

}  // namespace krserve::server::rpc
