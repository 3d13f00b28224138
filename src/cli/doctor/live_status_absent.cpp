// Grades in a build without the server (KRSERVE_SERVER=OFF): there are none.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/doctor/live_status.h"

namespace krserve::cli {

nlohmann::json fetch_status(const std::string&, const std::string&) {
  throw UsageError("doctor.server",
                   "this build has no server and does not ask one; leave out --server, or build "
                   "with -DKRSERVE_SERVER=ON");
}

nlohmann::json status_of_short_run(const RuntimeConfig&) {
  return {};
}

void print_status(const nlohmann::json&) {
  std::printf("\nNo grades: this build has no server (-DKRSERVE_SERVER=ON).\n");
}

}  // namespace krserve::cli
