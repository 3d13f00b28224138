// krserve config: the settings this program knows, for people and for other programs.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/options.h"
#include "config/document.h"
#include "config/schema_json.h"

namespace krserve::cli {

Command add_config(CLI::App& app) {
  auto schema = std::make_shared<bool>(false);
  app.add_flag("--schema", *schema, "JSON of every setting: type, range, default, what it is");
  return [schema] {
    std::fputs((*schema ? schema_json() : documented_yaml()).c_str(), stdout);
    return kExitOk;
  };
}

}  // namespace krserve::cli
