// The directory of a model that a user named: a directory, "tiny", or a Hugging Face id.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "hub/hub_error.h"

namespace krserve::hub {

// What is told while a model is fetched: fraction 0..1 of its bytes, and what is being done. Called
// on the thread that resolves, some ten times a second at most; an exception thrown from it ends
// the download (what is there stays) and comes out of resolve_model.
using Progress = std::function<void(double fraction, const std::string& what)>;

// A directory (returned as it is), "tiny" (the embedded model), or "owner/name[@revision]": looked
// up in the Hugging Face cache and downloaded into it where needed, which may take long. Throws
// ModelError for what is none of these, HubError when the hub cannot serve it.
std::filesystem::path resolve_model(const std::string& model, const Progress& progress = {});

}  // namespace krserve::hub
