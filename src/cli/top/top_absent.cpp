// krserve top in a build without HTTP (KRSERVE_SERVER=OFF).
#include <CLI/CLI.hpp>

#include "base/error.h"
#include "cli/commands.h"

namespace krserve::cli {

Command add_top(CLI::App& app) {
  app.allow_extras();
  return []() -> int {
    throw UsageError("cli.top",
                     "this build has no HTTP and cannot ask a server; build with "
                     "-DKRSERVE_SERVER=ON");
  };
}

}  // namespace krserve::cli
