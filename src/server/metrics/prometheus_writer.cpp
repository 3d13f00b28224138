#include "server/metrics/prometheus_writer.h"

#include <fmt/format.h>

#include <cmath>

namespace krserve::server {

std::string prometheus_number(double value) {
  constexpr double kExactIntegers = 9007199254740992.0;  // 2^53
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  if (std::trunc(value) == value && std::fabs(value) < kExactIntegers) {
    return fmt::format("{}", static_cast<int64_t>(value));
  }
  return fmt::format("{}", value);
}

std::string escape_label_value(std::string_view value) {
  std::string escaped;
  for (char c : value) {
    if (c == '\n') {
      escaped += "\\n";
      continue;
    }
    if (c == '\\' || c == '"') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

void PrometheusWriter::family(std::string_view name, std::string_view help, std::string_view type) {
  text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void PrometheusWriter::sample(std::string_view name, const Labels& labels, double value) {
  text_ += name;
  char separator = '{';
  for (const Labels* list : std::initializer_list<const Labels*>{&common_, &labels}) {
    for (const auto& [key, text] : *list) {
      text_ += fmt::format("{}{}=\"{}\"", separator, key, escape_label_value(text));
      separator = ',';
    }
  }
  if (separator == ',') text_ += '}';
  text_ += ' ' + prometheus_number(value) + '\n';
}

void PrometheusWriter::counter(std::string_view name, std::string_view help, double value) {
  family(name, help, "counter");
  sample(name, {}, value);
}

void PrometheusWriter::gauge(std::string_view name, std::string_view help, double value) {
  family(name, help, "gauge");
  sample(name, {}, value);
}

void PrometheusWriter::histogram(std::string_view name, std::string_view help,
                                 const engine::Histogram& values) {
  family(name, help, "histogram");
  const std::string bucket = std::string(name) + "_bucket";
  for (size_t i = 0; i < values.bounds.size(); ++i) {
    const std::string bound = prometheus_number(values.bounds[i]);
    sample(bucket, {{"le", bound}}, static_cast<double>(values.counts[i]));
  }
  sample(bucket, {{"le", "+Inf"}}, static_cast<double>(values.count));
  sample(std::string(name) + "_sum", {}, values.sum);
  sample(std::string(name) + "_count", {}, static_cast<double>(values.count));
}

}  // namespace krserve::server
