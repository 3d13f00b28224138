#include "hub/model_name.h"

#include <dlfcn.h>

#include <algorithm>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/process.h"

namespace krserve::hub {
namespace {

constexpr const char* kWhere = "hub.resolve";
constexpr const char* kEmbedded = "tiny";

bool is_part(std::string_view text) {
  const auto fits = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_' || c == '.';
  };
  return !text.empty() && text.size() <= 96 && text.front() != '.' && text.front() != '-' &&
         std::all_of(text.begin(), text.end(), fits) && text.find("..") == text.npos;
}

// Refs such as refs/pr/3 have slashes.
bool is_revision(std::string_view text) {
  while (!text.empty()) {
    const size_t slash = text.find('/');
    if (!is_part(text.substr(0, slash))) return false;
    if (slash == text.npos) return true;
    text.remove_prefix(slash + 1);
  }
  return false;
}

bool is_model(const std::filesystem::path& directory) {
  std::error_code ignored;
  return std::filesystem::exists(directory / "config.json", ignored);
}

// Folders of the program and of the library that this code is in (a Python module).
std::vector<std::filesystem::path> own_folders() {
  std::vector<std::filesystem::path> files{executable_path()};
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&embedded_model), &info) != 0 && info.dli_fname) {
    files.emplace_back(info.dli_fname);
  }
  std::vector<std::filesystem::path> folders;
  std::error_code error;
  for (const auto& file : files) {
    const auto real = std::filesystem::canonical(file, error);
    if (!error) folders.push_back(real.parent_path());
  }
  return folders;
}

std::optional<std::filesystem::path> embedded_near(std::filesystem::path folder) {
  // build/release/bin/krserve is three below the source tree, bin/krserve one below its prefix.
  for (int level = 0; level < 5; ++level, folder = folder.parent_path()) {
    for (const char* place : {"models/tiny", "share/krserve/models/tiny", "share/krserve/tiny"}) {
      if (is_model(folder / place)) return folder / place;
    }
    if (folder == folder.root_path()) break;
  }
  return std::nullopt;
}

}  // namespace

std::optional<ModelId> parse_model_id(const std::string& model) {
  const std::string_view all = model;
  const size_t at = all.find('@');
  const std::string_view repository = all.substr(0, at);
  const size_t slash = repository.find('/');
  if (slash == all.npos || !is_part(repository.substr(0, slash)) ||
      !is_part(repository.substr(slash + 1))) {
    return std::nullopt;
  }
  if (at == all.npos) return ModelId{std::string(repository), "main"};
  const std::string_view revision = all.substr(at + 1);
  if (!is_revision(revision)) return std::nullopt;
  return ModelId{std::string(repository), std::string(revision)};
}

std::filesystem::path embedded_model() {
  std::string looked;
  for (const auto& folder : own_folders()) {
    if (auto found = embedded_near(folder)) return *found;
    looked += (looked.empty() ? "" : ", ") + folder.string();
  }
  if (is_model("models/tiny")) return "models/tiny";
  throw_error<ModelError>(kWhere,
                          "the embedded model was not found near {} or in ./models/tiny; give its "
                          "directory",
                          looked);
}

std::optional<std::filesystem::path> local_model(const std::string& model) {
  std::error_code ignored;
  if (std::filesystem::is_directory(model, ignored)) return model;
  if (model == kEmbedded) return embedded_model();
  if (parse_model_id(model)) return std::nullopt;
  throw_error<ModelError>(kWhere,
                          "'{}' is not a directory; give a model's directory, tiny, or a Hugging "
                          "Face id (owner/name or owner/name@revision)",
                          model);
}

}  // namespace krserve::hub
