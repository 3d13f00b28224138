// The krserve program: parses the command line, runs a command, turns errors into exit codes.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <utility>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "server/version.h"

namespace {

int report(const std::exception& error, int code) {
  std::fprintf(stderr, "krserve: %s\n", error.what());
  return code;
}

int run(CLI::App& app, const std::vector<std::pair<CLI::App*, krserve::cli::Command>>& commands) {
  try {
    for (const auto& [parsed, command] : commands) {
      if (app.got_subcommand(parsed)) return command();
    }
    return krserve::cli::kExitUsage;
  } catch (const krserve::UsageError& error) {
    return report(error, krserve::cli::kExitUsage);
  } catch (const krserve::ConfigError& error) {
    return report(error, krserve::cli::kExitConfig);
  } catch (const std::exception& error) {
    return report(error, krserve::cli::kExitFailure);
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"krserve: an LLM inference runtime and server"};
  app.require_subcommand(1);
  app.set_version_flag("--version", krserve::server::kVersion);
  std::vector<std::pair<CLI::App*, krserve::cli::Command>> commands;
  const auto add = [&](const char* name, const char* help,
                       krserve::cli::Command (*make)(CLI::App&)) {
    CLI::App* parsed = app.add_subcommand(name, help);
    commands.emplace_back(parsed, make(*parsed));
  };
  add("serve", "Serve a model over HTTP (OpenAI-compatible)", krserve::cli::add_serve);
  add("rpc", "Serve models over stdin and stdout (JSON-RPC 2.0)", krserve::cli::add_rpc);
  add("generate", "Generate text on the terminal", krserve::cli::add_generate);
  add("synth", "Write a random-weight model of a known shape, for timing", krserve::cli::add_synth);
  add("bench", "Measure decode, prefill or the ablation", krserve::cli::add_bench);
  add("doctor", "Show device, effective settings and basic costs", krserve::cli::add_doctor);
  add("config", "Print the settings: config/runtime.yaml, or their schema",
      krserve::cli::add_config);
  add("metal-selftest", "Check and measure Metal on this Mac, for a report",
      krserve::cli::add_metal_selftest);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& request) {  // --help, --version
    return app.exit(request);
  } catch (const CLI::ParseError& error) {
    app.exit(error);
    return krserve::cli::kExitUsage;
  }
  return run(app, commands);
}
