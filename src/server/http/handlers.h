// The endpoints that answer at once: health, models, metrics, version; and who may ask.
#pragma once

#include <chrono>
#include <string_view>

#include "engine/engine.h"
#include "server/http/message.h"
#include "server/metrics/http_metrics.h"

namespace krserve::server {

// `engine` is null while the model is loading.
HttpResponse health_response(const engine::Engine* engine, bool draining);
HttpResponse metrics_response(const engine::Engine* engine, const HttpMetrics& http);
HttpResponse version_response();
// Grades and counters, see live_status.h. Throws ApiError 503 while loading.
HttpResponse status_response(const engine::Engine* engine, bool draining,
                             std::chrono::system_clock::time_point started);
// These throw ApiError: 503 while loading, 404 for another name than the served one.
HttpResponse models_response(const engine::Engine* engine);
HttpResponse model_response(const engine::Engine* engine, std::string_view name);

// Throws ApiError 503 unless the engine takes requests now; returns it otherwise.
engine::Engine& ready_engine(engine::Engine* engine, bool draining);

// Compares in time that does not depend on where the texts differ. An empty key lets everybody in.
bool authorized(std::string_view authorization_header, std::string_view api_key);

}  // namespace krserve::server
