#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <sstream>

#include "server/metrics/component_status.h"
#include "server/metrics/engine_metrics.h"
#include "server/metrics/http_metrics.h"
#include "server/metrics/process_metrics.h"
#include "server/metrics/prometheus_writer.h"

namespace krserve::server {
namespace {

using engine::EngineStatistics;
using engine::Histogram;

struct Sample {
  std::string name;
  std::string labels;
  double value = 0;
};

// Accepts only: HELP, TYPE, then that family's samples; names, labels, values by the format's
// rules.
class StrictParser {
 public:
  void parse(const std::string& text) {
    if (!text.empty() && text.back() != '\n') fail("no line end at the end");
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) read(line);
  }

  std::map<std::string, std::string> types;
  std::vector<Sample> samples;
  std::optional<std::string> error;

  double value(const std::string& name, const std::string& labels = "") const {
    for (const Sample& sample : samples) {
      if (sample.name == name && sample.labels == labels) return sample.value;
    }
    ADD_FAILURE() << "no sample " << name << "{" << labels << "}";
    return NAN;
  }

 private:
  void read(const std::string& line) {
    static const std::regex help("# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) ([^\\n]+)");
    static const std::regex type("# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)");
    static const std::regex sample(
        "([a-zA-Z_:][a-zA-Z0-9_:]*)"
        "(?:\\{((?:[a-zA-Z_][a-zA-Z0-9_]*=\"(?:[^\"\\\\]|\\\\[\\\\\"n])*\",?)+)\\})? (\\S+)");
    std::smatch match;
    if (std::regex_match(line, match, help)) {
      if (!helped_.insert(match[1]).second) fail("second HELP: " + line);
      family_ = match[1];
    } else if (std::regex_match(line, match, type)) {
      if (match[1] != family_) fail("TYPE without its HELP: " + line);
      if (!types.emplace(match[1], match[2]).second) fail("second TYPE: " + line);
    } else if (std::regex_match(line, match, sample)) {
      add({match[1], match[2], number(match[3])}, line);
    } else {
      fail("not a line of the format: " + line);
    }
  }

  void add(const Sample& sample, const std::string& line) {
    const std::string type = types.contains(family_) ? types[family_] : "";
    std::string base = sample.name;
    if (type == "histogram") {
      base = std::regex_replace(base, std::regex("_(bucket|sum|count)$"), "");
    }
    if (base != family_) fail("sample outside its family: " + line);
    if (type == "counter" && !sample.name.ends_with("_total")) fail("counter name: " + line);
    if (!seen_.insert(sample.name + "{" + sample.labels).second) fail("sample twice: " + line);
    samples.push_back(sample);
  }

  double number(const std::string& text) {
    if (text == "+Inf") return INFINITY;
    if (text == "NaN") return NAN;
    size_t used = 0;
    const double value = std::stod(text, &used);
    if (used != text.size()) fail("number " + text);
    return value;
  }

  void fail(const std::string& why) {
    if (!error) error = why;
  }

  std::string family_;
  std::set<std::string> helped_;
  std::set<std::string> seen_;
};

EngineStatistics filled() {
  EngineStatistics s;
  s.requests_running = 2;
  s.kv_cache_usage = 0.25;
  s.generation_tokens_total = 12345678901ULL;
  s.finished_total = {7, 3, 2, 1};
  s.time_to_first_token_s = Histogram({0.1, 1});
  s.time_to_first_token_s.observe(0.05);
  s.time_to_first_token_s.observe(0.5);
  s.time_to_first_token_s.observe(5);
  s.pool.total_allocations = 11;
  s.pool.tags[1].bytes = 4096;
  s.blit.total_uploads = 12;
  s.blit.stalls[3] = 15;
  s.blit.copy_ms = 1500;
  s.blit.overlapped_ms = 1250;
  s.ring.timeouts = 13;
  s.ring.replays = 16;
  s.ring.wait_ms = 17;
  s.ring.occupancy[2] = 14;
  auto& late = s.ring.gaps[static_cast<size_t>(runtime::GapCause::kHostLate)];
  late.count = 6;
  late.total_ms = 20.5;
  late.buckets.front() = 3;  // up to 1 us
  late.buckets[1] = 2;       // up to 2 us
  late.buckets.back() = 1;   // above 10 ms
  return s;
}

StrictParser parsed(const std::string& text) {
  StrictParser parser;
  parser.parse(text);
  EXPECT_EQ(parser.error.value_or(""), "");
  return parser;
}

StrictParser parsed_engine_metrics(std::string_view model = "m") {
  PrometheusWriter writer({{"model_name", model}});
  write_engine_metrics(writer, filled());
  write_runtime_metrics(writer, filled());
  return parsed(writer.text());
}

TEST(EngineMetrics, TextIsValidAndHasTheValues) {
  const StrictParser metrics = parsed_engine_metrics();
  const std::string m = "model_name=\"m\"";
  EXPECT_EQ(metrics.value("vllm:num_requests_running", m), 2);
  EXPECT_EQ(metrics.value("vllm:kv_cache_usage_perc", m), 0.25);
  EXPECT_EQ(metrics.value("vllm:generation_tokens_total", m), 12345678901.0);
  EXPECT_EQ(metrics.value("vllm:request_success_total", m + ",finished_reason=\"stop\""), 7);
  EXPECT_EQ(metrics.value("vllm:request_success_total", m + ",finished_reason=\"length\""), 3);
  EXPECT_EQ(metrics.value("krserve:requests_cancelled_total", m), 2);
  EXPECT_EQ(metrics.value("krserve:pool_allocations_total", m), 11);
  EXPECT_EQ(metrics.value("krserve:pool_tag_bytes", m + ",tag=\"kv\""), 4096);
  EXPECT_EQ(metrics.value("krserve:blit_uploads_total", m), 12);
  EXPECT_EQ(metrics.value("krserve:blit_stalls_total", m + ",cause=\"paced\""), 15);
  EXPECT_EQ(metrics.value("krserve:blit_copy_seconds_total", m), 1.5);
  EXPECT_EQ(metrics.value("krserve:blit_overlapped_seconds_total", m), 1.25);
  EXPECT_EQ(metrics.value("krserve:ring_timeouts_total", m), 13);
  EXPECT_EQ(metrics.value("krserve:ring_replays_total", m), 16);
  EXPECT_EQ(metrics.value("krserve:ring_wait_seconds_total", m), 0.017);
  EXPECT_EQ(metrics.value("krserve:ring_occupancy_total", m + ",in_flight=\"2\""), 14);
  EXPECT_EQ(metrics.types.at("krserve:pool_live_bytes"), "gauge");
}

TEST(ComponentStatusMetrics, MetricsWithoutDataAreLeftOut) {
  EngineStatistics s;
  s.ring.enabled = true;
  s.ring.total_acquisitions = 100;
  s.ring.reuse_rate = 0.75;
  PrometheusWriter writer;
  write_component_status(writer, engine::grade_components(s));
  const StrictParser metrics = parsed(writer.text());
  EXPECT_EQ(
      metrics.value("krserve:component_status", "component=\"command_ring\",metric=\"reuse_rate\""),
      2);
  EXPECT_EQ(metrics.samples.size(), 2U);  // and avg_wait_ms
}

TEST(EngineMetrics, HistogramsAreCumulativeAndEndWithInfinity) {
  const StrictParser metrics = parsed_engine_metrics();
  const std::string name = "vllm:time_to_first_token_seconds";
  const std::string m = "model_name=\"m\"";
  EXPECT_EQ(metrics.types.at(name), "histogram");
  EXPECT_EQ(metrics.value(name + "_bucket", m + ",le=\"0.1\""), 1);
  EXPECT_EQ(metrics.value(name + "_bucket", m + ",le=\"1\""), 2);
  EXPECT_EQ(metrics.value(name + "_bucket", m + ",le=\"+Inf\""), 3);
  EXPECT_EQ(metrics.value(name + "_count", m), 3);
  EXPECT_DOUBLE_EQ(metrics.value(name + "_sum", m), 5.55);
}

TEST(EngineMetrics, GapsAreAHistogramForEachCause) {
  const StrictParser metrics = parsed_engine_metrics();
  const std::string name = "krserve:ring_gap_seconds";
  const std::string late = "model_name=\"m\",cause=\"host_late\"";
  EXPECT_EQ(metrics.types.at(name), "histogram");
  EXPECT_EQ(metrics.value(name + "_bucket", late + ",le=\"1e-06\""), 3);
  EXPECT_EQ(metrics.value(name + "_bucket", late + ",le=\"2e-06\""), 5);
  EXPECT_EQ(metrics.value(name + "_bucket", late + ",le=\"0.01\""), 5);
  EXPECT_EQ(metrics.value(name + "_bucket", late + ",le=\"+Inf\""), 6);
  EXPECT_EQ(metrics.value(name + "_count", late), 6);
  EXPECT_DOUBLE_EQ(metrics.value(name + "_sum", late), 0.0205);
  EXPECT_EQ(metrics.value(name + "_count", "model_name=\"m\",cause=\"no_work\""), 0);
}

TEST(EngineMetrics, LabelValuesAreEscaped) {
  const StrictParser metrics = parsed_engine_metrics("a\"b\\c\nd");
  EXPECT_EQ(metrics.value("vllm:num_requests_running", R"(model_name="a\"b\\c\nd")"), 2);
}

TEST(HttpMetrics, CountsByPathAndStatus) {
  HttpMetrics http;
  http.count_request("/health", 200);
  http.count_request("/health", 200);
  http.count_request("/health", 503);
  http.connection_opened();
  PrometheusWriter writer;
  http.write(writer);
  const StrictParser metrics = parsed(writer.text());
  EXPECT_EQ(metrics.value("krserve:http_requests_total", R"(path="/health",status="200")"), 2);
  EXPECT_EQ(metrics.value("krserve:http_requests_total", R"(path="/health",status="503")"), 1);
  EXPECT_EQ(metrics.value("krserve:http_connections"), 1);
}

TEST(ProcessMetrics, ReadThisProcess) {
  PrometheusWriter writer;
  write_process_metrics(writer, process_usage());
  const StrictParser metrics = parsed(writer.text());
  EXPECT_GT(metrics.value("process_resident_memory_bytes"), 1e5);
  EXPECT_GE(metrics.value("process_cpu_seconds_total"), 0);
}

TEST(PrometheusNumber, WritesSpecialAndExactValues) {
  EXPECT_EQ(prometheus_number(3), "3");
  EXPECT_EQ(prometheus_number(0.1), "0.1");
  EXPECT_EQ(prometheus_number(9007199254740991.0), "9007199254740991");
  EXPECT_EQ(prometheus_number(INFINITY), "+Inf");
  EXPECT_EQ(prometheus_number(NAN), "NaN");
}

}  // namespace
}  // namespace krserve::server
