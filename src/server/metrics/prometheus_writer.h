// Writes metrics in Prometheus' text exposition format, version 0.0.4.
// https://prometheus.io/docs/instrumenting/exposition_formats/
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/statistics.h"

namespace krserve::server {

using Label = std::pair<std::string_view, std::string_view>;
using Labels = std::vector<Label>;

// Families are written one after the other: HELP and TYPE by the first call, then its samples.
class PrometheusWriter {
 public:
  static constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

  // Every sample gets these labels in front of its own. The views must outlive the writer.
  explicit PrometheusWriter(Labels common = {}) : common_(std::move(common)) {}

  // Counter names end in _total.
  void counter(std::string_view name, std::string_view help, double value);
  void gauge(std::string_view name, std::string_view help, double value);
  void histogram(std::string_view name, std::string_view help, const engine::Histogram& values);

  // For families with several samples.
  void family(std::string_view name, std::string_view help, std::string_view type);
  void sample(std::string_view name, const Labels& labels, double value);

  const std::string& text() const { return text_; }

 private:
  Labels common_;
  std::string text_;
};

// Integers without a fraction, "+Inf", "-Inf", "NaN".
std::string prometheus_number(double value);
// Backslash, double quote and line end escaped.
std::string escape_label_value(std::string_view value);

}  // namespace krserve::server
