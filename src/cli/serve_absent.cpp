// krserve serve in a build without the server (KRSERVE_SERVER=OFF).
#include <CLI/CLI.hpp>

#include "base/error.h"
#include "cli/commands.h"

namespace krserve::cli {

Command add_serve(CLI::App& app) {
  app.allow_extras();
  return []() -> int {
    throw UsageError("cli.serve",
                     "this build has no server; build with -DKRSERVE_SERVER=ON, or use generate");
  };
}

}  // namespace krserve::cli
