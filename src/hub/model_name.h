// What a user may name as the model, told apart without touching the network.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace krserve::hub {

// "owner/name" or "owner/name@revision" of a model hub.
struct ModelId {
  std::string repository;  // "owner/name"
  std::string revision;    // branch, tag or commit; "main" when none was given
};

// nullopt for what cannot be an id; says nothing about what exists.
std::optional<ModelId> parse_model_id(const std::string& model);

// models/tiny: beside the program or library, or in its share/krserve. Throws ModelError when it is
// nowhere.
std::filesystem::path embedded_model();

// The directory that `model` names by itself: a directory, or "tiny". nullopt for an id; throws
// ModelError for anything else.
std::optional<std::filesystem::path> local_model(const std::string& model);

}  // namespace krserve::hub
