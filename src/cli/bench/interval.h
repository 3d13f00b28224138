// Confidence intervals of medians, for benches.
#pragma once

#include <vector>

namespace krserve::cli {

struct Interval {
  double median = 0;
  double low = 0;
  double high = 0;
};

// 95 % percentile bootstrap of the median: 10,000 resamples with a fixed seed, so the same values
// give the same interval everywhere. Of at least one value; with fewer than 5 it says little.
Interval bootstrap_median(const std::vector<double>& values);

// value[i] / base[i] - 1 for each i: runs of the same round, so that drift of the machine cancels.
std::vector<double> paired_changes(const std::vector<double>& values,
                                   const std::vector<double>& base);

}  // namespace krserve::cli
