#include "model/formats/model_name.h"

namespace krserve {

std::string model_name(const std::filesystem::path& directory) {
  std::filesystem::path path = std::filesystem::weakly_canonical(directory);
  if (!path.has_filename()) path = path.parent_path();  // a trailing slash
  const std::string prefix = "models--";
  const std::string repository = path.parent_path().parent_path().filename().string();
  const size_t owner_end = repository.find("--", prefix.size());
  if (path.parent_path().filename() != "snapshots" || repository.rfind(prefix, 0) != 0 ||
      owner_end == std::string::npos) {
    return path.filename().string();
  }
  return repository.substr(prefix.size(), owner_end - prefix.size()) + "/" +
         repository.substr(owner_end + 2);
}

}  // namespace krserve
