#include "model/formats/staging_directory.h"

#include <unistd.h>

#include <fstream>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/units.h"

namespace krserve {
namespace {

namespace fs = std::filesystem;

// The path without a trailing slash.
fs::path trimmed(const fs::path& path) {
  fs::path result = path.lexically_normal();
  return result.has_filename() ? result : result.parent_path();
}

fs::path beside(const fs::path& path, const char* purpose) {
  fs::path result = path;
  result += fmt::format(".{}-{}", purpose, ::getpid());
  return result;
}

[[noreturn]] void refuse(const std::string& where, const char* what, const fs::path& path,
                         const std::error_code& error) {
  throw_error<ModelError>(where, "cannot {} {}: {}; choose another directory", what, path.string(),
                          error.message());
}

}  // namespace

StagingDirectory::StagingDirectory(std::string where, const fs::path& target, bool replace)
    : where_(std::move(where)), target_(trimmed(target)), path_(beside(target_, "tmp")) {
  check_target(target, replace);
  std::error_code error;
  if (target_.has_parent_path()) fs::create_directories(target_.parent_path(), error);
  if (!error && !fs::create_directory(path_, error) && !error) {
    error = std::make_error_code(std::errc::file_exists);
  }
  if (error) refuse(where_, "create", path_, error);
  owned_ = true;
}

StagingDirectory::~StagingDirectory() {
  std::error_code ignored;
  if (owned_) fs::remove_all(path_, ignored);
}

void StagingDirectory::check_target(const fs::path& given, bool replace) const {
  std::error_code error;
  const bool exists = fs::exists(target_, error);
  if (exists && !fs::is_directory(target_, error)) {
    throw_error<UsageError>(where_, "'{}' is a file; choose another directory", given.string());
  }
  if (target_.empty() || (exists && !replace && !fs::is_empty(target_, error))) {
    throw_error<UsageError>(where_, "'{}' exists and is not empty; choose another directory",
                            given.string());
  }
  // Replacing removes what is there: only what looks like a model.
  if (exists && !fs::is_empty(target_, error) && !fs::exists(target_ / "config.json", error)) {
    throw_error<UsageError>(where_,
                            "'{}' holds other things than a model (no config.json) and is not "
                            "replaced; choose another directory",
                            given.string());
  }
}

void StagingDirectory::require_space(uint64_t bytes) const {
  std::error_code error;
  const fs::space_info space = fs::space(path_, error);
  if (!error && space.available < bytes) {
    throw_error<ModelError>(where_,
                            "{} needs {}, {} are free; free some space or choose another disk",
                            target_.string(), format_bytes(bytes), format_bytes(space.available));
  }
}

void StagingDirectory::write_text(const std::string& name, const std::string& text) const {
  const fs::path path = path_ / name;
  std::ofstream out(path, std::ios::binary);
  out << text;
  out.close();
  if (!out) {
    throw_error<ModelError>(where_,
                            "{}: cannot write {} bytes; check the permissions and the free space "
                            "of the disk",
                            path.string(), text.size());
  }
}

void StagingDirectory::commit() {
  std::error_code error;
  const fs::path old = beside(target_, "old");
  const bool replaces = fs::exists(target_, error) && !fs::is_empty(target_, error);
  if (replaces) {
    fs::rename(target_, old, error);
    if (error) refuse(where_, "move away", target_, error);
  }
  fs::rename(path_, target_, error);  // replaces nothing but an empty directory
  if (error) {
    std::error_code ignored;
    if (replaces) fs::rename(old, target_, ignored);
    refuse(where_, "rename to its final name", target_, error);
  }
  owned_ = false;
  std::error_code ignored;
  if (replaces) fs::remove_all(old, ignored);
}

}  // namespace krserve
