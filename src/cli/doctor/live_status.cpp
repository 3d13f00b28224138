#include "cli/doctor/live_status.h"

#include <fmt/format.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <regex>

#include "base/error.h"
#include "cli/bench/workload.h"
#include "cli/options.h"
#include "server/metrics/component_status.h"

namespace krserve::cli {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Json = nlohmann::json;

constexpr auto kHttpTimeout = std::chrono::seconds(10);

http::response<http::string_body> get(const std::string& host, const std::string& port,
                                      const std::string& target, const std::string& api_key) {
  asio::io_context io;
  asio::ip::tcp::resolver resolver(io);
  beast::tcp_stream stream(io);
  stream.expires_after(kHttpTimeout);
  stream.connect(resolver.resolve(host, port));
  http::request<http::empty_body> request(http::verb::get, target, 11);
  request.set(http::field::host, host);
  request.set(http::field::connection, "close");
  if (!api_key.empty()) request.set(http::field::authorization, "Bearer " + api_key);
  http::write(stream, request);
  beast::flat_buffer buffer;
  http::response<http::string_body> response;
  http::read(stream, buffer, response);
  return response;
}

std::string limit_text(const Json& metric, const char* limit, bool target) {
  const bool higher = metric.at("higher_is_better").get<bool>();
  const double value = metric.at(limit).get<double>();
  if (target && !higher && value == 0) return "0";
  return fmt::format("{}{:g}", higher == target ? ">" : "<", value);
}

}  // namespace

Json fetch_status(const std::string& url, const std::string& api_key) {
  static const std::regex form(R"(http://(\[[0-9a-fA-F:]+\]|[^/:]+)(?::([0-9]+))?/?)");
  std::smatch match;
  if (!std::regex_match(url, match, form)) {
    throw UsageError("doctor.server", fmt::format("'{}' is not of the form http://host:port", url));
  }
  const std::string port = match[2].matched ? match[2].str() : "80";
  std::string host = match[1].str();
  if (host.front() == '[') host = host.substr(1, host.size() - 2);
  try {
    const auto response = get(host, port, "/status", api_key);
    if (response.result() != http::status::ok) {
      throw Error("doctor.server", fmt::format("{} answered {} to GET /status: {}", url,
                                               response.result_int(), response.body()));
    }
    return Json::parse(response.body());
  } catch (const boost::system::system_error& error) {
    throw Error("doctor.server", fmt::format("no answer from {}: {}; is the server running there?",
                                             url, error.code().message()));
  } catch (const Json::exception&) {
    throw Error("doctor.server", fmt::format("{} answered no JSON: not a krserve server?", url));
  }
}

Json status_of_short_run(const RuntimeConfig& config) {
  Workload workload;
  workload.batch = 2;
  workload.prompt_tokens = 32;
  workload.gen_tokens = 64;
  const auto model_dir = model_directory(config);
  const auto engine =
      engine::Engine::create(config_for(config, model_dir, workload), model_dir, {}, nullptr);
  run_workload(*engine, workload);  // makes the recordings
  engine->reset_statistics();
  run_workload(*engine, workload);
  return server::component_status_json(engine->statistics());
}

void print_status(const Json& status) {
  if (status.is_null()) {
    std::printf(
        "\nNo grades: name a running server (--server http://host:port) or a model (-m).\n");
    return;
  }
  std::printf("\n%-14s %-17s %10s %9s %9s %9s  %s\n", "Component", "metric", "value", "target",
              "warning", "critical", "grade");
  for (const auto& [component, state] : status.at("components").items()) {
    for (const Json& m : state.value("metrics", Json::array())) {
      const Json& value = m.at("value");
      const std::string unit = m.at("unit");
      const std::string shown = value.is_null() ? "-"
                                                : fmt::format("{:.3g}{}{}", value.get<double>(),
                                                              unit.empty() ? "" : " ", unit);
      std::printf("%-14s %-17s %10s %9s %9s %9s  %s\n", component.c_str(),
                  m.at("name").get<std::string>().c_str(), shown.c_str(),
                  limit_text(m, "target", true).c_str(), limit_text(m, "warning", false).c_str(),
                  limit_text(m, "critical", false).c_str(),
                  m.at("grade").get<std::string>().c_str());
      if (m.contains("remedy")) {
        std::printf("%-14s %-17s %s\n", "", "", m.at("remedy").get<std::string>().c_str());
      }
    }
    if (!state.at("enabled").get<bool>()) std::printf("%-14s is off\n", component.c_str());
  }
}

}  // namespace krserve::cli
