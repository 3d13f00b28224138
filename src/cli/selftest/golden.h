// Runs the golden vectors on a device and holds the results beside another's.
#pragma once

#include <functional>
#include <memory>

#include "cli/selftest/cases.h"
#include "device/check_log.h"

namespace krserve::selftest {

struct Verdict {
  double worst = 0;  // error as a part of its bound; at most 1 is right
  std::string why;   // empty if right
};

Verdict compare(const Case& one, const std::vector<Content>& results,
                const std::vector<Content>& expected);

using OpenDevice = std::function<std::shared_ptr<Device>()>;

// `open` is called again after a device threw. A fact for each op: cases, worst error.
void check_golden(CheckLog& log, const OpenDevice& open, Device& reference, Extent extent);

}  // namespace krserve::selftest
