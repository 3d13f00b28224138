// A directory that appears under its name only when it is complete.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace krserve {

// The files are written to a directory next to the target, which commit() renames; whatever was not
// committed is removed. `where` opens the messages: "model.synth".
class StagingDirectory {
 public:
  // Throws UsageError when the target is a file or a directory with something in it. With
  // `replace`, a model directory (config.json) may be there: commit() puts the new one in its
  // place. Throws ModelError when nothing can be created there.
  StagingDirectory(std::string where, const std::filesystem::path& target, bool replace = false);
  ~StagingDirectory();
  StagingDirectory(const StagingDirectory&) = delete;
  StagingDirectory& operator=(const StagingDirectory&) = delete;

  const std::filesystem::path& path() const noexcept { return path_; }
  // Throws ModelError when the disk has fewer free bytes.
  void require_space(uint64_t bytes) const;
  void write_text(const std::string& name, const std::string& text) const;
  void commit();

 private:
  void check_target(const std::filesystem::path& given, bool replace) const;

  std::string where_;
  std::filesystem::path target_;
  std::filesystem::path path_;
  bool owned_ = false;
};

}  // namespace krserve
