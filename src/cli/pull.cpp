// krserve pull: a model of the Hugging Face hub into its cache; prints where it lies.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "hub/fetch.h"

namespace krserve::cli {
namespace {

int run(const std::string& model) {
  const auto id = hub::parse_model_id(model);
  if (!id) {
    throw_error<UsageError>(
        "cli.pull", "'{}' is no Hugging Face id; give owner/name or owner/name@revision", model);
  }
  ProgressBar bar("pulling");
  const auto path = hub::fetch_model(
      *id, [&](double fraction, const std::string& what) { bar.update(fraction, what); });
  bar.finish();
  std::printf("%s\n", path.c_str());
  return kExitOk;
}

}  // namespace

Command add_pull(CLI::App& app) {
  auto model = std::make_shared<std::string>();
  app.add_option("model", *model, "owner/name or owner/name@revision")->required();
  app.footer(
      "Into the cache of huggingface_hub (HF_HUB_CACHE, HF_HOME); HF_TOKEN for gated and private "
      "models, HF_ENDPOINT for another hub. What was interrupted is resumed.");
  return [model] { return run(*model); };
}

}  // namespace krserve::cli
