#include "model/formats/checkpoint.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "model/formats/json_file.h"

namespace krserve {
namespace {

constexpr const char* kWhere = "model.open";
constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

// Tensor name -> shard, as the index says.
std::map<std::string, std::string> read_weight_map(const std::filesystem::path& index) {
  const Json json = read_json_file(index, kWhere);
  const JsonFields map = JsonFields(json, index.string(), kWhere).object("weight_map");
  if (map.json().empty()) map.refuse("*", "one entry for each tensor");
  std::map<std::string, std::string> result;
  for (const auto& [tensor, value] : map.json().items()) {
    const std::string shard = map.text(tensor);
    if (shard.empty() || std::filesystem::path(shard).filename() != shard || shard == "..") {
      map.refuse(tensor, "the name of a file in the same directory");
    }
    result.emplace(tensor, shard);
  }
  return result;
}

// model*.safetensors, in the order of their names.
std::vector<std::filesystem::path> weight_files(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("model") && name.ends_with(".safetensors")) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// 3 for "model-00001-of-00003.safetensors"; 0 for a name without a count.
size_t shards_of(const std::filesystem::path& file) {
  const std::string name = file.stem().string();
  const size_t at = name.rfind("-of-");
  if (at == std::string::npos) return 0;
  size_t count = 0;
  const char* end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data() + at + 4, end, count);
  return error == std::errc() && rest == end ? count : 0;
}

}  // namespace

Checkpoint::Checkpoint(std::filesystem::path directory) : directory_(std::move(directory)) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(directory_, ignored)) {
    throw_error<ModelError>(kWhere,
                            "{} is not a directory; name one that holds config.json and "
                            "model.safetensors",
                            directory_.string());
  }
  if (std::filesystem::exists(directory_ / kSingleFile, ignored)) {
    open_single(directory_ / kSingleFile);
  } else if (std::filesystem::exists(directory_ / kIndexFile, ignored)) {
    open_index(directory_ / kIndexFile);
  } else if (const auto files = weight_files(directory_); !files.empty()) {
    open_all(files);
  } else {
    refuse_without_weights();
  }
  for (const auto& [name, view] : tensors_) bytes_ += view->bytes;
}

void Checkpoint::open_single(const std::filesystem::path& file) {
  files_.emplace_back(file);
  for (const auto& [name, view] : files_.front().tensors()) tensors_.emplace(name, &view);
}

void Checkpoint::open_index(const std::filesystem::path& index) {
  const auto weight_map = read_weight_map(index);
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : weight_map) shards.insert(shard);
  std::vector<std::string> missing;
  std::error_code ignored;
  for (const auto& shard : shards) {
    if (!std::filesystem::exists(directory_ / shard, ignored)) missing.push_back(shard);
  }
  if (!missing.empty()) {
    throw_error<ModelError>(kWhere, "{}: {} of {} shards are missing: {}; re-download them",
                            index.string(), missing.size(), shards.size(),
                            fmt::join(missing, ", "));
  }
  files_.reserve(shards.size());  // the tables point into the elements
  std::map<std::string, const SafetensorsFile*> by_name;
  for (const auto& shard : shards) by_name[shard] = &files_.emplace_back(directory_ / shard);
  for (const auto& [tensor, shard] : weight_map) {
    const TensorView* view = by_name.at(shard)->find(tensor);
    if (view == nullptr) {
      throw_error<ModelError>(kWhere, "{}: tensor '{}' is not in its shard {}; re-download both",
                              index.string(), tensor, shard);
    }
    tensors_.emplace(view->name, view);
  }
}

void Checkpoint::open_all(const std::vector<std::filesystem::path>& files) {
  files_.reserve(files.size());  // the tables point into the elements
  for (const auto& file : files) {
    if (const size_t shards = shards_of(file); shards > files.size()) {
      throw_error<ModelError>(kWhere, "{}: {} of {} shards are there; re-download the others",
                              directory_.string(), files.size(), shards);
    }
    for (const auto& [name, view] : files_.emplace_back(file).tensors()) {
      if (tensors_.emplace(name, &view).second) continue;
      throw_error<ModelError>(kWhere,
                              "{}: tensor '{}' is in several files and there is no {}; remove "
                              "the files that do not belong to the model",
                              file.string(), name, kIndexFile);
    }
  }
}

void Checkpoint::refuse_without_weights() const {
  std::string remedy = "download the safetensors version of the model";
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, ignored)) {
    const auto extension = entry.path().extension();
    if (extension == ".gguf" || extension == ".bin" || extension == ".pt" || extension == ".npz") {
      remedy = fmt::format("{} is of an unsupported format, convert it to safetensors",
                           entry.path().filename().string());
    }
  }
  throw_error<ModelError>(kWhere, "{} holds neither {} nor {}; {}", directory_.string(),
                          kSingleFile, kIndexFile, remedy);
}

const TensorView* Checkpoint::find(std::string_view name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : it->second;
}

const TensorView& Checkpoint::require(std::string_view name) const {
  const TensorView* view = find(name);
  if (view == nullptr) {
    throw_error<ModelError>(kWhere,
                            "{}: tensor '{}' is missing among {}; re-download the model, or "
                            "check that config.json belongs to it",
                            directory_.string(), name, tensors_.size());
  }
  return *view;
}

void Checkpoint::advise(MapAdvice advice) const noexcept {
  for (const auto& file : files_) file.file().advise(advice);
}

}  // namespace krserve
