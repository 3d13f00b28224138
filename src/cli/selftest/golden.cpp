#include "cli/selftest/golden.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace krserve::selftest {
namespace {

// After so many in a row a device is not going to work.
constexpr int kMostThrows = 4;

Floats floats_of(const Content& content, Compare how) {
  if (how == Compare::kF16) return from_type(content.bytes, ops::FloatType::kF16);
  if (how == Compare::kBF16) return from_type(content.bytes, ops::FloatType::kBF16);
  return content.as<float>();
}

// Where two contents part, and what they hold there.
template <class T>
std::string difference(const std::vector<T>& result, const std::vector<T>& expected) {
  size_t first = result.size(), count = 0;
  for (size_t i = result.size(); i-- > 0;) {
    // Not a number on both sides is the same.
    if (result[i] == expected[i] || (result[i] != result[i] && expected[i] != expected[i]))
      continue;
    first = i;
    ++count;
  }
  if (count == 0) return "no element differs";
  return fmt::format("{} of {} elements differ, the first at {}: {} instead of {}", count,
                     result.size(), first, result[first], expected[first]);
}

// The element that is furthest off.
std::string furthest(const Floats& result, const Floats& expected) {
  size_t at = 0;
  double most = -1;
  for (size_t i = 0; i < result.size(); ++i) {
    double off = std::fabs(double{result[i]} - expected[i]);
    if (std::isfinite(result[i]) != std::isfinite(expected[i])) {
      off = std::numeric_limits<double>::infinity();
    }
    if (!(off > most)) continue;
    most = off;
    at = i;
  }
  return fmt::format("furthest off at {} of {}: {} instead of {}; {}", at, result.size(),
                     result[at], expected[at], difference(result, expected));
}

Verdict compare_floats(const Check& check, const Content& result, const Content& expected) {
  const Floats r = floats_of(result, check.how), e = floats_of(expected, check.how);
  const double error = relative_error(r, e);
  if (error < check.bound) return {error / check.bound, {}};
  return {error / check.bound, fmt::format("buffer {}: error {:.2e}, bound {:.0e}; {}",
                                           check.content, error, check.bound, furthest(r, e))};
}

Verdict compare_one(const Check& check, const Content& result, const Content& expected) {
  if (check.how == Compare::kBytes) {
    if (result.bytes == expected.bytes) return {};
    const std::string text = result.bytes.size() % sizeof(int32_t) == 0
                                 ? difference(result.as<int32_t>(), expected.as<int32_t>())
                                 : difference(result.bytes, expected.bytes);
    return {std::numeric_limits<double>::infinity(),
            fmt::format("buffer {}: must be equal; {}", check.content, text)};
  }
  if (check.how != Compare::kTokens) return compare_floats(check, result, expected);
  const auto r = result.as<int32_t>(), e = expected.as<int32_t>();
  double different = 0;
  for (size_t i = 0; i < r.size(); ++i) different += r[i] != e[i];
  if (different <= check.bound) return {different / check.bound, {}};
  return {different / check.bound, fmt::format("buffer {}: {}", check.content, difference(r, e))};
}

struct Tally {
  std::string op;
  uint32_t cases = 0, wrong = 0;
  double worst = 0;
  std::string worst_name;

  void add(const Case& one, const Verdict& verdict) {
    ++cases;
    wrong += !verdict.why.empty();
    if (verdict.worst <= worst) return;
    worst = verdict.worst;
    worst_name = one.name;
  }
  std::string text() const {
    std::string out = fmt::format("{} cases", cases);
    if (wrong) out += fmt::format(", {} WRONG", wrong);
    if (worst == 0) return out + ", equal to the bit";
    if (!(worst <= 1)) return out;
    return out + fmt::format(", error at most {:.2g} of its bound ({})", worst, worst_name);
  }
};

}  // namespace

Verdict compare(const Case& one, const std::vector<Content>& results,
                const std::vector<Content>& expected) {
  Verdict all;
  for (const Check& check : one.checks) {
    const auto i = static_cast<size_t>(check.content);
    const Verdict verdict = compare_one(check, results[i], expected[i]);
    all.worst = std::max(all.worst, verdict.worst);
    if (all.why.empty()) all.why = verdict.why;
  }
  return all;
}

void check_golden(CheckLog& log, const OpenDevice& open, Device& reference, Extent extent) {
  std::shared_ptr<Device> device = open();
  int throws = 0;
  std::vector<Tally> tallies;
  const auto tally_of = [&](const std::string& op) -> Tally& {
    const auto it = std::find_if(tallies.begin(), tallies.end(),
                                 [&](const Tally& tally) { return tally.op == op; });
    if (it != tallies.end()) return *it;
    tallies.emplace_back().op = op;
    return tallies.back();
  };
  for_each_case(extent, [&](const Case& one) {
    const std::string what = one.op + ": " + one.name;
    if (throws >= kMostThrows) {
      log.not_run(what, "the device does not run");
      return;
    }
    log.doing(what);
    Verdict verdict;
    try {
      if (!device) device = open();
      verdict = compare(one, run_calls(*device, one.calls, one.contents),
                        run_calls(reference, one.calls, one.contents));
      throws = 0;
    } catch (const std::exception& error) {
      verdict = {std::numeric_limits<double>::infinity(), error.what()};
      device.reset();
      ++throws;
    }
    if (verdict.why.empty()) {
      log.passed(what);
    } else {
      log.failed(what, verdict.why);
    }
    tally_of(one.op).add(one, verdict);
  });
  for (const Tally& tally : tallies) log.fact(tally.op, tally.text());
}

}  // namespace krserve::selftest
