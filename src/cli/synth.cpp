// krserve synth: a random-weight model of a published shape, for timing.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "model/synth/synthesize.h"

namespace krserve::cli {
namespace {

struct SynthOptions {
  std::string shape = "qwen2.5-0.5b";
  uint32_t bits = 4;
  uint32_t group_size = 64;
  uint64_t seed = 1;
  std::string out;
};

int run(const SynthOptions& options) {
  ProgressBar bar("writing");
  synthesize(options.shape, options.bits, options.group_size, options.out, options.seed,
             [&](double fraction) { bar.update(fraction); });
  bar.finish();
  std::printf("%s (%u bit, group %u) written to %s\n", options.shape.c_str(), options.bits,
              options.group_size, options.out.c_str());
  return kExitOk;
}

}  // namespace

Command add_synth(CLI::App& app) {
  auto options = std::make_shared<SynthOptions>();
  app.add_option("--shape", options->shape,
                 "tiny, qwen2.5-0.5b, qwen2.5-1.5b, qwen2.5-7b, qwen3-0.6b or llama-3.2-1b")
      ->capture_default_str();
  app.add_option("--bits", options->bits, "4, 8 or 16 (bf16)")
      ->check(CLI::IsMember({4, 8, 16}))
      ->capture_default_str();
  app.add_option("--group-size", options->group_size, "32, 64 or 128")
      ->check(CLI::IsMember({32, 64, 128}))
      ->capture_default_str();
  app.add_option("--seed", options->seed, "Seed of the weights")->capture_default_str();
  app.add_option("--out", options->out, "Directory to write")->required();
  return [options] { return run(*options); };
}

}  // namespace krserve::cli
