#include "cli/bench/interval.h"

#include <algorithm>
#include <cstddef>
#include <random>

namespace krserve::cli {
namespace {

constexpr size_t kResamples = 10'000;

// Reorders its argument.
double median_of(std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

}  // namespace

Interval bootstrap_median(const std::vector<double>& values) {
  std::mt19937_64 generator(1);
  std::vector<double> sample = values;
  Interval out;
  out.median = median_of(sample);
  std::vector<double> medians(kResamples);
  for (double& median : medians) {
    // Modulo, not uniform_int_distribution: the same with every standard library.
    for (double& value : sample) value = values[generator() % values.size()];
    median = median_of(sample);
  }
  std::sort(medians.begin(), medians.end());
  out.low = medians[kResamples * 25 / 1000];
  out.high = medians[kResamples * 975 / 1000 - 1];
  return out;
}

std::vector<double> paired_changes(const std::vector<double>& values,
                                   const std::vector<double>& base) {
  std::vector<double> out;
  for (size_t i = 0; i < std::min(values.size(), base.size()); ++i) {
    out.push_back(base[i] > 0 ? values[i] / base[i] - 1 : 0);
  }
  return out;
}

}  // namespace krserve::cli
