// krserve metal-selftest on the command line.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/log.h"
#include "base/process.h"
#include "cli/bench/report.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/selftest/crash_note.h"
#include "cli/selftest/selftest.h"
#include "device/metal_checks.h"
#include "server/version.h"

namespace krserve::cli {
namespace {

struct SelftestOptions {
  selftest::Options run;
  std::string model;
  std::string json_file;
  bool no_validation = false;
};

// At once: what follows may end the process.
void print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

std::string title_of(const selftest::Options& options) {
  return fmt::format("krserve {} metal-selftest --path {}{}", server::kVersion, options.path,
                     options.quick ? " --quick" : "");
}

int run(SelftestOptions& options) {
  set_log_level(LogLevel::kWarn);
  require_metal();
  options.run.model = options.model;
  options.run.validation = !options.no_validation;
  options.run.program = executable_path();
  selftest::install_crash_note();
  selftest::Report report(print, selftest::set_crash_note);
  report.begin(title_of(options.run));
  selftest::run_selftest(report, options.run);
  report.end();
  write_result(report.json(), options.json_file);
  return report.failures() == 0 ? kExitOk : kExitFailure;
}

}  // namespace

Command add_metal_selftest(CLI::App& app) {
  auto options = std::make_shared<SelftestOptions>();
  app.add_option("--json", options->json_file, "Write all findings to this file as JSON");
  app.add_option("--path", options->run.path, "The way through Metal")
      ->check(CLI::IsMember({"auto", "metal3", "metal4"}))
      ->capture_default_str();
  app.add_option("--model", options->model, "Model directory (models/tiny where it is found)");
  app.add_flag("--no-validation", options->no_validation,
               "Leave out the second run, with Metal's validation");
  app.add_flag("--quick", options->run.quick, "Fewer cases and samples");
  return [options] { return run(*options); };
}

}  // namespace krserve::cli
