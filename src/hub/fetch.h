// Fetches a model of the hub into the Hugging Face cache.
#pragma once

#include <filesystem>

#include "hub/model_name.h"
#include "hub/resolve_model.h"

namespace krserve::hub {

// The snapshot's directory, complete. Throws HubError; see resolve_model for `progress`.
std::filesystem::path fetch_model(const ModelId& id, const Progress& progress);

}  // namespace krserve::hub
