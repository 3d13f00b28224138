// krserve convert: a Hugging Face model to MLX's 4 or 8 bit format.
#include "model/convert/convert.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <map>
#include <memory>

#include "base/error.h"
#include "base/units.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/progress.h"

namespace krserve::cli {
namespace {

constexpr size_t kNamesShown = 4;

struct Options {
  std::string source;
  std::string target;
  std::string dtype;
  uint64_t shard_mb = 5 * kGiB / kMiB;
  ConvertOptions convert;
};

volatile std::sig_atomic_t interrupted = 0;

// The work ends at its next piece, and what was written is removed.
void stop_on_signals() {
  for (const int signal : {SIGINT, SIGTERM}) {
    std::signal(signal, [](int) { interrupted = 1; });
  }
}

void warn(const char* what, const std::vector<std::string>& names) {
  if (names.empty()) return;
  const auto shown = std::min(names.size(), kNamesShown);
  fmt::print(stderr, "krserve: {} {}: {}{}\n", names.size(), what,
             fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
             shown < names.size() ? ", ..." : "");
}

int run(Options& options) {
  static const std::map<std::string, Dtype> kDtypes = {
      {"float32", Dtype::kF32}, {"float16", Dtype::kF16}, {"bfloat16", Dtype::kBF16}};
  if (!options.dtype.empty()) options.convert.dtype = kDtypes.at(options.dtype);
  options.convert.shard_bytes = options.shard_mb * kMiB;
  stop_on_signals();
  ProgressBar bar("quantizing");
  const ConvertReport report =
      convert_model(options.source, options.target, options.convert, [&](double fraction) {
        if (interrupted != 0) throw Error("cli.convert", "interrupted; nothing is left behind");
        bar.update(fraction);
      });
  bar.finish();
  warn("matrices not quantized, their columns are no multiple of the group size",
       report.plain_modules);
  warn("tensors left out, the architecture does not use them", report.unused_tensors);
  fmt::print("{} written: {} from {}, {:.3f} bits per weight ({} bit, group {}), {} file{}\n",
             options.target, format_bytes(report.bytes), format_bytes(report.source_bytes),
             static_cast<double>(report.bytes) * 8 / static_cast<double>(report.parameters),
             options.convert.quantization.bits, options.convert.quantization.group_size,
             report.files, report.files == 1 ? "" : "s");
  return kExitOk;
}

}  // namespace

Command add_convert(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("-m,--model", options->source,
                 "Directory of a model in bf16, f16 or f32 (Hugging Face layout)")
      ->required();
  app.add_option("-o,--out", options->target, "Directory to write")->required();
  app.add_option("--bits", options->convert.quantization.bits, "4 or 8")
      ->check(CLI::IsMember({4, 8}))
      ->capture_default_str();
  app.add_option("--group-size", options->convert.quantization.group_size, "32, 64 or 128")
      ->check(CLI::IsMember({32, 64, 128}))
      ->capture_default_str();
  app.add_option("--dtype", options->dtype,
                 "Of scales, biases and what stays plain: bfloat16, float16 or float32; default: "
                 "torch_dtype of config.json, else as in the source")
      ->check(CLI::IsMember({"bfloat16", "float16", "float32"}));
  app.add_option("--shard-mb", options->shard_mb, "Most MiB of tensors in one file")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--threads", options->convert.threads, "0 = all cores")->capture_default_str();
  app.add_flag("--force", options->convert.replace,
               "Replace a model that is in the directory already");
  return [options] { return run(*options); };
}

}  // namespace krserve::cli
