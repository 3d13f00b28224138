// Applies a YAML document to the configuration; everything wrong in it goes to Problems with its
// line.
#pragma once

#include <string>
#include <string_view>

#include "config/loader.h"
#include "config/problems.h"

namespace krserve {

// `source` names the document in messages and origins ("config/runtime.yaml").
void apply_yaml(LoadedConfig& config, const std::string& text, std::string_view source,
                Problems& problems);

// The same for a file; a missing, unreadable or oversized one is a problem too.
void apply_yaml_file(LoadedConfig& config, const std::string& path, Problems& problems);

}  // namespace krserve
