#include "model/formats/checkpoint.h"

#include <fmt/ranges.h>

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
