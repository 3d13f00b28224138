// Grades in a build without the server (KRSERVE_SERVER=OFF): there are none.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/doctor/live_status.h"

namespace krserve::cli {

nlohmann::json status_of_short_run(const RuntimeConfig&) {
  return {};
}

void print_status(const nlohmann::json&) {
  std::printf("\nNo grades: this build has no server (-DKRSERVE_SERVER=ON).\n");
}

}  // namespace krserve::cli
