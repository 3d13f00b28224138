#include "engine/statistics.h"

#include <algorithm>

namespace krserve::engine {

Histogram::Histogram(std::vector<double> upper_bounds)
    : bounds(std::move(upper_bounds)), counts(bounds.size() + 1) {}

void Histogram::observe(double value) {
  for (size_t i = 0; i < bounds.size(); ++i) counts[i] += value <= bounds[i] ? 1 : 0;
  ++counts.back();
  sum += value;
  ++count;
}

}  // namespace krserve::engine
