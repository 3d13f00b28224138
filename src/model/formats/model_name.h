// The name that a model goes by, from where it lies.
#pragma once

#include <filesystem>
#include <string>

namespace krserve {

// The directory's name; "owner/name" for a snapshot in the Hugging Face cache
// (models--owner--name/snapshots/COMMIT).
std::string model_name(const std::filesystem::path& directory);

}  // namespace krserve
