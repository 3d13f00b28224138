#include "cli/selftest/selftest.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <sstream>

#include "base/error.h"
#include "base/machine.h"
#include "base/units.h"
#include "cli/selftest/child.h"
#include "cli/selftest/golden.h"
#include "cli/selftest/measure.h"
#include "cli/selftest/model_check.h"
#include "device/metal_checks.h"

namespace krserve::selftest {
namespace {

constexpr std::chrono::seconds kChildLimit{600};
constexpr size_t kChildLines = 30;
// Metal checks the calls and what kernels access, and tells of it on stderr alone
// (MetalValidation(1) of macOS). It goes on after an error: the first is seldom the only one.
const std::vector<std::string> kValidation = {
    "MTL_DEBUG_LAYER=1", "MTL_DEBUG_LAYER_ERROR_MODE=nslog", "MTL_SHADER_VALIDATION=1",
    "MTL_SHADER_VALIDATION_REPORT_TO_STDERR=1", "METAL_DEVICE_WRAPPER_TYPE=1"};

MetalPath parse_path(const std::string& path) {
  if (path == "metal3") return MetalPath::kMetal3;
  if (path == "metal4") return MetalPath::kMetal4;
  if (path == "auto") return MetalPath::kAuto;
  throw_error<UsageError>("cli.metal-selftest", "--path {}; give auto, metal3 or metal4", path);
}

// Here, or beside the program as in a checkout's build/release/bin.
std::filesystem::path find_model(const Options& options) {
  if (!options.model.empty()) return options.model;
  std::vector<std::filesystem::path> roots = {"."};
  for (std::filesystem::path at = options.program; at.has_relative_path(); at = at.parent_path()) {
    roots.push_back(at.parent_path());
  }
  for (const auto& root : roots) {
    const auto model = root / "models" / "tiny";
    std::error_code ignored;
    if (std::filesystem::exists(model / "config.json", ignored)) return model;
  }
  return {};
}

void tell_machine(CheckLog& log) {
  const MachineFacts machine = machine_facts();
  log.fact("machine", fmt::format("{}{}{} {}.{}", machine.model, machine.model.empty() ? "" : ", ",
                                  machine.system, machine.version.major, machine.version.minor));
  log.fact("processor", machine.processor + (machine.translated ? ", TRANSLATED by Rosetta" : ""));
  log.fact("memory", format_bytes(machine.memory_bytes));
  if (machine.wired_limit_bytes) {
    log.fact("iogpu.wired_limit_mb", format_bytes(machine.wired_limit_bytes));
  }
}

void check_validation(CheckLog& log, const Options& options) {
  log.doing("this program again, with Metal's validation");
  std::vector<std::string> arguments = {"metal-selftest", "--quick", "--no-validation", "--path",
                                        options.path};
  if (!options.model.empty()) {
    arguments.insert(arguments.end(), {"--model", options.model.string()});
  }
  std::string settings;
  for (const std::string& one : kValidation) settings += (settings.empty() ? "" : " ") + one;
  log.fact("environment", settings);
  const ChildResult child = run_child(options.program, arguments, kValidation, kChildLimit);
  const std::vector<std::string> lines = telling_lines(child.out, child.err);
  for (size_t i = 0; i < std::min(lines.size(), kChildLines); ++i) log.fact("with it", lines[i]);
  if (lines.size() > kChildLines) {
    log.fact("with it", fmt::format("... and {} more lines", lines.size() - kChildLines));
  }
  if (child.timed_out) {
    log.failed("the run", fmt::format("no end within {} s", kChildLimit.count()));
  } else if (child.signal) {
    log.failed("the run", fmt::format("ended by signal {}", child.signal));
  } else if (child.exit_code != 0) {
    log.failed("the run", fmt::format("exit status {}", child.exit_code));
  } else {
    log.passed("the run");
  }
  const auto complaints = std::count_if(lines.begin(), lines.end(), is_complaint);
  if (complaints) {
    log.failed("Metal's checks", fmt::format("{} lines of stderr, above", complaints));
  } else {
    log.passed("Metal's checks");
  }
}

}  // namespace

bool is_complaint(const std::string& line) {
  const auto says = [&](const char* words) { return line.find(words) != std::string::npos; };
  if (says("Validation Enabled") || line.compare(0, 6, "FAILED") == 0) return false;
  return says("nvalid") || says("failed assertion") || says("rror") || says("Validation");
}

std::vector<std::string> telling_lines(const std::string& out, const std::string& err) {
  std::vector<std::string> lines;
  const auto add = [&](const std::string& line) {
    if (std::find(lines.begin(), lines.end(), line) == lines.end()) lines.push_back(line);
  };
  std::istringstream report(out), said(err);
  for (std::string line; std::getline(report, line);) {
    const size_t text = line.find_first_not_of(' ');
    if (text != std::string::npos && line.compare(text, 6, "FAILED") == 0) add(line.substr(text));
  }
  for (std::string line; std::getline(said, line);) {
    if (line.find_first_not_of(" \t") != std::string::npos) add(line);
  }
  return lines;
}

void run_selftest(Report& report, const Options& options) {
  const MetalPath path = parse_path(options.path);
  require_metal();
  const Extent extent = options.quick ? Extent::kQuick : Extent::kAll;
  const int samples = options.quick ? 5 : 50;
  const auto open = [path] { return open_back_end("metal", path); };

  report.section("system", [&](CheckLog& log) {
    tell_machine(log);
    check_metal_system(log, path);
  });
  report.section("messages", check_metal_messages);
  report.section("kernels", check_metal_kernels);
  report.section("golden vectors",
                 [&](CheckLog& log) { check_golden(log, open, *open_back_end("cpu"), extent); });
  if (const auto model = find_model(options); model.empty()) {
    report.skip("model", "models/tiny is not here; give --model DIR");
  } else {
    report.section("model", [&](CheckLog& log) { check_model(log, open, model, extent); });
  }
  report.section("measured", [&](CheckLog& log) {
    measure_metal(log, path, samples);
    measure_device(log, open(), samples, options.quick ? 4 * kMiB : 256 * kMiB);
  });
  if (options.validation) {
    report.section("validation", [&](CheckLog& log) { check_validation(log, options); });
  } else {
    report.skip("validation", "--no-validation");
  }
}

}  // namespace krserve::selftest
